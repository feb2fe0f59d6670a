-- One half of a transfer: money into an account, or with a negative number out of it.
update chaos.accounts set cents = cents + %(cents)s where id = %(id)s
