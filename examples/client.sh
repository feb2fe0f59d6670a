#!/bin/sh
# How does a program in any other language submit a task? With one POST, and one header that makes it safe to repeat.
set -eu
api=${1:-http://127.0.0.1:8000}

submit() {
    # --retry covers refused connections, time-outs, 408, 429 and 5xx: with the key, sending again is safe.
    curl --silent --show-error --fail-with-body --retry 10 --retry-connrefused --retry-max-time 60 \
        --header 'Content-Type: application/json' --header "Idempotency-Key: $1" --data "$2" "$api/api/tasks"
}

field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

task=$(submit report-2026-09 '{"type": "monthly_report", "payload": {"month": "2026-09"}}' | field task_id)
again=$(submit report-2026-09 '{"type": "monthly_report", "payload": {"month": "2026-09"}}' | field task_id)
[ "$task" = "$again" ]

curl --silent --show-error --fail-with-body "$api/api/tasks/$task?wait=30"
echo
