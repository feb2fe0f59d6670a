-- The tables of the workload's handlers. `effects` has no unique constraint: what happened twice is
-- there twice.
create schema if not exists chaos;

create table if not exists chaos.effects (
    task_id uuid not null,
    attempt int not null,
    type text not null,
    pid int not null
);

create table if not exists chaos.late (
    task_id uuid not null,
    attempt int not null
);

create table if not exists chaos.accounts (
    id int primary key,
    cents bigint not null
);
