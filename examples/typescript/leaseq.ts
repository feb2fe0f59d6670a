// The types of the HTTP API of leaseq. This file is made from the OpenAPI document by `make generated`.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface ActionBody {
  seen?: string | null;
  operation_id?: string | null;
}

export interface ApiKey {
  id: string;
  name: string;
  scopes: ("admin" | "metrics" | "operate" | "payloads" | "read" | "submit")[];
  tenant: string | null;
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  replaced_by: string | null;
  last_used_at: string | null;
  rate: number | null;
  burst: number | null;
}

export interface ApiKeyList {
  keys: ApiKey[];
}

export interface AttemptList {
  task_id: string;
  erased_at: string | null;
  attempts: AttemptView[];
}

export interface AttemptView {
  attempt: number;
  hand_backs: number | null;
  outcome: Outcome;
  worker_id: string;
  started_at: string;
  finished_at: string;
  next_state: State;
  error?: Json;
}

export interface BatchAnswer {
  items: BatchOutcome[];
}

export interface BatchItem {
  queue?: string | null;
  priority?: "high" | "low" | "normal" | null;
  delay_seconds?: number | null;
  run_at?: string | null;
  max_attempts?: number | null;
  timeout_seconds?: number | null;
  expires_at?: string | null;
  labels?: Json;
  concurrency_key?: string | null;
  unique_key?: string | null;
  unique?: "while_running" | "while_unfinished" | "while_waiting" | null;
  unique_seconds?: number | null;
  debounce_seconds?: number | null;
  max_wait_seconds?: number | null;
  throttle_seconds?: number | null;
  on_conflict?: "refuse" | "replace" | "return" | null;
  type: string;
  payload: Json;
  idempotency_key?: string | null;
}

export interface BatchOutcome {
  status: number;
  replayed?: boolean;
  deduplicated?: boolean;
  task?: BatchTask;
  problem?: Problem;
}

export interface BatchTask {
  task_id: string;
  type: string;
  queue: string;
  state: State;
  idempotency_key: string | null;
  created_at: string;
}

export interface BulkOperationView {
  operation_id: string;
  action: "cancel" | "redrive";
  filter: FilterView;
  tenant: string | null;
  actor: string;
  key_id: string | null;
  reason: string | null;
  as_of: string;
  rate: number;
  state: "done" | "running" | "stopped";
  total: number;
  total_exact: boolean;
  looked: number;
  done: number;
  refused: number;
  refusals: RefusalCount[];
  worked_at: string | null;
  began_at: string;
  ended_at: string | null;
}

export interface ByteQuotaUse {
  limit: number;
  used: number;
  left: number;
  resets_in_seconds: number;
}

export interface CensusCountView {
  queue: string;
  state: State;
  count: number;
  error: number;
  fewer_than: number | null;
}

export interface CensusView {
  at: string | null;
  exact: boolean;
  pages: number;
  of_pages: number;
  counts: CensusCountView[];
}

export interface Check {
  ok: boolean;
  servers: Json;
  findings: Finding[];
  config: Json;
  changed: string[];
}

export interface DeletedLimit {
  name: string;
}

export interface DepthsView {
  waiting: number;
  high: number;
  normal: number;
  low: number;
  suspect: number;
  parked: number;
  backlog_since: string | null;
  oldest_at: string | null;
}

export interface Due {
  at: string;
  overdue: number | null;
  overdue_since: string | null;
  counted_until: string | null;
  minutes: DueMinute[] | null;
  tasks: DueTask[];
}

export interface DueMinute {
  at: string;
  count: number | null;
}

export interface DueTask {
  task_id: string;
  tenant: string;
  queue: string;
  type: string;
  run_at: string;
  created_at: string;
  overdue: boolean;
  reason: "delayed" | "handed_back" | "retry";
  attempt: number;
  max_attempts: number;
  error?: Json;
}

export interface Durations {
  count: number;
  mean: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

export interface EndedAttempts {
  succeeded: number;
  errored: number;
  timed_out: number;
  cancelled: number;
  released: number;
  lost: number;
}

export interface ErrorVariant {
  count: number;
  task_id: string;
  attempt: number;
  error: Json;
}

export interface Evidence {
  source: "dispatch" | "failures" | "ledger" | "services" | "statistics" | "workers";
  text: string;
}

export interface FailedAttemptView {
  task_id: string;
  attempt: number;
  tenant: string;
  queue: string;
  state: State;
  outcome: Outcome;
  worker_id: string;
  host: string | null;
  version: string | null;
  finished_at: string;
}

export interface FailureDetail {
  failure: FailureView;
  recent: FailedAttemptView[];
  messages?: ErrorVariant[];
}

export interface FailureOfTask {
  type: string;
  fingerprint: string;
  in_day: number;
  first_seen: string;
  versions: string[];
}

export interface FailurePage {
  failures: FailureView[];
  next_cursor: string | null;
}

export interface FailureView {
  type: string;
  fingerprint: string;
  state: "acknowledged" | "known" | "new";
  code: string;
  exception: string;
  frame: string;
  message?: string | null;
  in_hour: number;
  in_day: number;
  in_week: number;
  hours: number[];
  dead: number;
  first_seen: string;
  last_seen: string;
  queues: string[];
  versions: SeenVersion[];
  hosts: string[];
  acknowledged_at: string | null;
  acknowledged_by: string | null;
  returned_at: string | null;
  task_id: string;
  attempt: number;
}

export interface Figures {
  submitted: number;
  replayed: number;
  started: number;
  ended: EndedAttempts;
  failed_tasks: number;
  cancelled_tasks: number;
  submitted_per_second: number;
  started_per_second: number;
  ended_per_second: number;
  failing_share: number | null;
  wait: Durations;
  run: Durations;
}

export interface FilterBody {
  ids?: string[] | null;
  queue?: string | null;
  type?: string | null;
  error?: string | null;
  running?: boolean;
  labels?: Json;
}

export interface FilterView {
  ids: number | null;
  queue: string | null;
  type: string | null;
  error: string | null;
  running: boolean;
  labels: Json;
}

export interface Finding {
  about: string;
  fatal: boolean;
  message: string;
}

export interface Fleet {
  workers: number;
  workers_silent: number;
  slots: number;
  busy: number | null;
  supervisors: number;
  reapers: number;
  apis: number;
  reaper_silent_seconds: number | null;
}

export interface FollowedTaskView {
  task_id: string;
  tenant: string;
  queue: string;
  type: string;
  state: State;
  attempt: number;
  retry_count: number;
  created_at: string;
  run_at: string;
  started_at: string | null;
  finished_at: string | null;
  cancel_requested_at: string | null;
  erased_at: string | null;
  worker_id: string | null;
  error?: Json;
  result?: Json;
}

export interface IssuedKey {
  text: string;
  key: ApiKey;
}

export interface KeyBody {
  name: string;
  scopes: ("admin" | "metrics" | "operate" | "payloads" | "read" | "submit")[];
  tenant: string | null;
  expires_seconds?: number | null;
  rate?: number | null;
  burst?: number | null;
}

export interface KeyLimitBody {
  rate: number | null;
  burst?: number | null;
}

export interface LaneCounts {
  waiting: number;
  high: number;
  normal: number;
  low: number;
  suspect: number;
  parked: number;
  backlog_since: string | null;
  oldest_at: string | null;
}

export interface LifeBar {
  kind: "backoff" | "handed-back" | "running" | "silent" | "waits";
  began: string;
  ended: string;
  text: string;
  is_open?: boolean;
}

export interface LifeLane {
  name: string;
  who?: string;
  bars?: LifeBar[];
  marks?: LifeMark[];
}

export interface LifeLine {
  text: string;
  when: string | null;
}

export interface LifeMark {
  kind: "cancelled" | "failed" | "lost" | "person" | "refused" | "succeeded";
  at: string;
  text: string;
}

export interface LifeView {
  task_id: string;
  began: string;
  ended: string;
  now: string;
  earlier: number;
  lanes: LifeLane[];
  history: LifeLine[];
  replay_of: string | null;
  replayed_as: string[];
}

export interface LimitBody {
  concurrency?: number | null;
  key_concurrency?: number | null;
  rate?: string | null;
  burst?: number | null;
  key_rate?: string | null;
  key_burst?: number | null;
  order?: "strict" | null;
  weights?: Json;
}

export interface LimitDetail {
  limit: LimitView;
  keys: LimitKeyView[];
}

export interface LimitKeyView {
  tenant: string;
  key: string;
  admitted: number;
  waiting: number;
}

export interface LimitList {
  limits: LimitView[];
  next_cursor: string | null;
}

export interface LimitView {
  name: string;
  concurrency: number | null;
  key_concurrency: number | null;
  rate: string | null;
  burst: number | null;
  key_rate: string | null;
  key_burst: number | null;
  order: "strict" | null;
  weights: Json;
  updated_at: string;
  admitted: number;
  waiting: number;
  oldest_at: string | null;
}

export interface ListedTaskView {
  task_id: string;
  tenant: string;
  queue: string;
  type: string;
  state: State;
  attempt: number;
  created_at: string;
  run_at: string;
  started_at: string | null;
  finished_at: string | null;
  cancel_requested_at: string | null;
}

export interface Live {
  live?: true;
}

export interface MissedView {
  count: number;
}

export interface Need {
  rule: "LeaseqDispatchAway" | "LeaseqDuePastDue" | "LeaseqNoReaper" | "LeaseqQueueForgotten" | "LeaseqQueueUnserved" | "LeaseqQueueWaitsTooLong" | "LeaseqSlotsFull" | "LeaseqWorkersSilent";
  sentence: string;
  queue?: string | null;
  since?: string | null;
}

export interface NoticePage {
  notices: NoticeView[];
  next_cursor: string | null;
}

export interface NoticeView {
  notice_id: number;
  at: string;
  name: string;
  meaning: string;
  level: "error" | "info" | "warning";
  role: "api" | "reaper" | "supervisor" | "worker";
  host: string;
  pid: number;
  queue: string | null;
  task_id: string | null;
  worker_id: string | null;
  fields: Json;
  count: number;
}

export interface OperationPage {
  operations: OperationView[];
  next_cursor: string | null;
}

export interface OperationView {
  operation_id: string;
  kind: string;
  action: string;
  target: string;
  tenant: string | null;
  key_id: string | null;
  actor: string;
  outcome: "done" | "refused" | "unconfirmed";
  code: string | null;
  detail: Json;
  began_at: string;
  ended_at: string | null;
}

export type Outcome = "cancelled" | "errored" | "lost" | "released" | "succeeded" | "timed_out";

export interface Overview {
  at: string;
  redis: "away" | "up";
  needs: Need[];
  fleet: Fleet;
  dead: number | null;
  queues: QueueStanding[];
  more_queues: boolean;
}

export interface PauseBody {
  reason?: string | null;
}

export interface PausedView {
  name: string;
  paused: boolean;
  paused_by: string | null;
  paused_reason: string | null;
  paused_at: string | null;
}

export interface PreviewBody {
  action: "cancel" | "redrive";
  filter: FilterBody;
}

export interface PreviewView {
  operation_id: string;
  as_of: string;
  count: number;
  exact: boolean;
  oldest_at: string | null;
  newest_at: string | null;
  samples: SampleView[];
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  instance: string;
  pointer?: string;
  task_id?: string;
  present?: string;
  postgres?: "up" | "away" | "read only" | "no standby" | "wrong schema";
  redis?: "up" | "away";
}

export interface ProgressView {
  attempt: number;
  progress: Json;
}

export interface QueueBody {
  limit?: string | null;
  fair?: boolean;
}

export interface QueueFigures {
  queue: string;
  figures: Figures;
}

export interface QueueLineView {
  name: string;
  limit: string | null;
  fair: boolean;
  permits: number | null;
  admitted: number;
  waiting: number;
  oldest_at: string | null;
  lines: LimitKeyView[];
}

export interface QueueList {
  queues: QueueView[];
  next_cursor: string | null;
}

export interface QueueQuotaUse {
  limit: number;
  used: number;
  left: number;
  queue: string;
}

export interface QueueStanding {
  name: string;
  paused: boolean;
  paused_by: string | null;
  paused_reason: string | null;
  paused_at: string | null;
  workers: number;
  slots: number | null;
  overdue_seconds: number | null;
  dead: number | null;
  lanes: LaneCounts | null;
}

export interface QueueView {
  name: string;
  paused: boolean;
  paused_by: string | null;
  paused_reason: string | null;
  paused_at: string | null;
  depths: DepthsView | null;
  limit: string | null;
  fair: boolean;
}

export interface QuotaUse {
  limit: number;
  used: number;
  left: number;
}

export interface QuotaView {
  tenant: string;
  unfinished: QuotaUse | null;
  unfinished_per_queue: QueueQuotaUse[] | null;
  payload_bytes_per_day: ByteQuotaUse | null;
}

export interface Ready {
  ready?: true;
  postgres?: "up";
  redis: "away" | "up";
}

export interface RefusalCount {
  reason: string;
  count: number;
}

export interface RememberedTask {
  task_id: string;
  type: string;
  queue: string;
  state: State;
  idempotency_key: string | null;
  created_at: string;
  deduplicated?: boolean;
}

export interface ReplayBody {
  queue?: string | null;
  priority?: "high" | "low" | "normal" | null;
  delay_seconds?: number | null;
  run_at?: string | null;
  max_attempts?: number | null;
  timeout_seconds?: number | null;
  expires_at?: string | null;
  labels?: Json;
  concurrency_key?: string | null;
  unique_key?: string | null;
  unique?: "while_running" | "while_unfinished" | "while_waiting" | null;
  unique_seconds?: number | null;
  debounce_seconds?: number | null;
  max_wait_seconds?: number | null;
  throttle_seconds?: number | null;
  on_conflict?: "refuse" | "replace" | "return" | null;
  payload?: Json;
  idempotency_key?: string | null;
}

export interface RotateBody {
  overlap_seconds?: number;
}

export interface RunBody {
  operation_id?: string | null;
}

export interface RunView {
  task_id: string;
  created: boolean;
}

export interface Running {
  at: string;
  redis: "away" | "up";
  held: number | null;
  more: boolean;
  tasks: RunningTask[] | null;
}

export interface RunningTask {
  task_id: string;
  tenant: string;
  queue: string;
  type: string;
  attempt: number;
  max_attempts: number;
  worker_id: string;
  host: string | null;
  started_at: string;
  run_seconds: number;
  timeout_seconds: number;
  timeout_share: number;
  lease_left_seconds: number | null;
  usual_p95_seconds: number | null;
  unusual: boolean;
  cancel_requested_at: string | null;
  progress?: Json;
}

export interface SampleView {
  task_id: string;
  queue: string;
  type: string;
  state: "CANCELLED" | "FAILED" | "PENDING" | "PROCESSING" | "SCHEDULED" | "SUCCESS";
  at: string;
}

export interface ScheduleBody {
  type: string;
  payload?: Json;
  cron?: string | null;
  tz?: string | null;
  every_seconds?: number | null;
  start_at?: string | null;
  end_at?: string | null;
  catch_up?: "all" | "once" | "skip";
  max_catch_up?: number;
  overlap?: "allow" | "skip" | "wait";
  jitter_seconds?: number;
  queue?: string | null;
  priority?: "high" | "low" | "normal" | null;
  max_attempts?: number | null;
  timeout_seconds?: number | null;
  labels?: Json;
  concurrency_key?: string | null;
}

export interface SchedulePage {
  schedules: ScheduleView[];
  next_cursor: string | null;
}

export interface ScheduleRun {
  at: string;
  task_id: string | null;
  state: State | null;
}

export interface ScheduleView {
  tenant: string;
  name: string;
  description: string;
  cron: string | null;
  tz: string;
  every_seconds: number | null;
  start_at: string | null;
  end_at: string | null;
  type: string;
  queue: string;
  priority: "high" | "low" | "normal";
  max_attempts: number;
  timeout_seconds: number;
  labels: Json;
  limit: string | null;
  concurrency_key: string | null;
  catch_up: "all" | "once" | "skip";
  max_catch_up: number;
  overlap: "allow" | "skip" | "wait";
  jitter_seconds: number;
  source: string;
  created_at: string;
  changed_at: string;
  paused_at: string | null;
  paused_by: string | null;
  next_at: string | null;
  last_at: string | null;
  last_task_id: string | null;
  fired: number;
  missed: number;
  skipped: number;
  payload?: Json;
  next_times?: string[];
  runs?: ScheduleRun[];
}

export interface SeenVersion {
  version: string;
  first_seen: string;
}

export interface ServiceList {
  services: ServiceView[];
}

export interface ServiceView {
  service_id: string;
  role: "api" | "reaper" | "supervisor";
  host: string;
  pid: number;
  version: string;
  alive: boolean;
  started_at: string;
  last_seen: string;
  ended_at: string | null;
  silent_seconds: number;
  detail: Json;
}

export interface StartBody {
  operation_id: string;
  action: "cancel" | "redrive";
  filter: FilterBody;
  rate?: number;
  reason?: string | null;
  as_of?: string | null;
}

export type State = "CANCELLED" | "FAILED" | "PENDING" | "PROCESSING" | "SCHEDULED" | "SUCCESS";

export interface Statistics {
  window: "1h" | "24h" | "6h" | "7d";
  step_seconds: number;
  now: string;
  since: string | null;
  last_flush_at: string | null;
  reporting: number;
  unknown: string | null;
  total: Figures | null;
  steps: StatisticsStep[];
  types: TypeFigures[];
  queues: QueueFigures[];
}

export interface StatisticsStep {
  at: string;
  seconds: number;
  figures: Figures | null;
}

export interface SubmitBody {
  queue?: string | null;
  priority?: "high" | "low" | "normal" | null;
  delay_seconds?: number | null;
  run_at?: string | null;
  max_attempts?: number | null;
  timeout_seconds?: number | null;
  expires_at?: string | null;
  labels?: Json;
  concurrency_key?: string | null;
  unique_key?: string | null;
  unique?: "while_running" | "while_unfinished" | "while_waiting" | null;
  unique_seconds?: number | null;
  debounce_seconds?: number | null;
  max_wait_seconds?: number | null;
  throttle_seconds?: number | null;
  on_conflict?: "refuse" | "replace" | "return" | null;
  type: string;
  payload: Json;
}

export interface TaskPage {
  tasks: TaskSummaryView[];
  next_cursor: string | null;
}

export interface TaskSummaryView {
  task_id: string;
  tenant: string;
  type: string;
  queue: string;
  state: State;
  priority: "high" | "low" | "normal";
  attempt: number;
  retry_count: number;
  crash_count: number;
  loss_count: number;
  hand_back_count: number;
  max_attempts: number;
  timeout_seconds: number;
  idempotency_key: string | null;
  created_at: string;
  run_at: string;
  started_at: string | null;
  finished_at: string | null;
  expires_at: string | null;
  cancel_requested_at: string | null;
  worker_id: string | null;
  erased_at: string | null;
  key_freed_at: string | null;
  labels: Json;
  waiting_for: WaitingFor | null;
  unique?: UniqueView;
  progress?: Json;
  error?: Json;
}

export interface TaskView {
  task_id: string;
  tenant: string;
  type: string;
  queue: string;
  state: State;
  priority: "high" | "low" | "normal";
  attempt: number;
  retry_count: number;
  crash_count: number;
  loss_count: number;
  hand_back_count: number;
  max_attempts: number;
  timeout_seconds: number;
  idempotency_key: string | null;
  created_at: string;
  run_at: string;
  started_at: string | null;
  finished_at: string | null;
  expires_at: string | null;
  cancel_requested_at: string | null;
  worker_id: string | null;
  erased_at: string | null;
  key_freed_at: string | null;
  labels: Json;
  waiting_for: WaitingFor | null;
  unique?: UniqueView;
  progress?: Json;
  error?: Json;
  result?: Json;
  payload?: Json;
  deduplicated?: boolean;
}

export interface Tenant {
  unfinished?: number | null;
  unfinished_per_queue?: number | null;
  payload_bytes_per_day?: number | null;
  name: string;
  created_at: string;
}

export interface TenantBody {
  name: string;
}

export interface TenantList {
  tenants: Tenant[];
}

export interface TenantQuotasBody {
  unfinished?: number | null;
  unfinished_per_queue?: number | null;
  payload_bytes_per_day?: number | null;
}

export interface TenantView {
  name: string;
  created: boolean;
}

export interface TypeDetail {
  type: string;
  queue: string;
  payload_schema: Json;
  max_attempts: number | null;
  timeout_seconds: number | null;
  updated_at: string;
  versions: TypeVersion[];
}

export interface TypeFigures {
  queue: string;
  type: string;
  figures: Figures;
  run_share: number | null;
}

export interface TypeList {
  types: TypeView[];
  next_cursor: string | null;
}

export interface TypeVersion {
  version: string;
  queue: string;
  max_attempts: number | null;
  timeout_seconds: number | null;
  first_seen_at: string;
  workers: number;
}

export interface TypeView {
  type: string;
  queue: string;
  payload_schema: Json;
  max_attempts: number | null;
  timeout_seconds: number | null;
  updated_at: string;
}

export interface UniqueView {
  key: string;
  hold: "debounce" | "throttle" | "while_running" | "while_unfinished" | "while_waiting";
  current: boolean;
}

export interface WaitingFor {
  time?: string;
  limit?: string;
  key?: string;
  queue?: string;
}

export interface Why {
  task_id: string;
  state: State | null;
  case: "backing_off" | "backlogged" | "cancel_asked" | "cancelled" | "delayed" | "dispatch_away" | "due" | "due_failing" | "due_lane_full" | "due_no_reaper" | "expired" | "failed" | "fair_turn" | "handed_back" | "in_lane" | "limit_next" | "limit_reached" | "orphaned" | "overrunning" | "pruned" | "queue_paused" | "queue_unserved" | "rate_reached" | "reaper_held_back" | "row_locked" | "running" | "running_long" | "servers_silent" | "succeeded" | "suspect" | "taken" | "type_unknown" | "undelivered" | "unlisted" | "worker_silent";
  sentence: string;
  next: string;
  next_at: string | null;
  since: string | null;
  actions: string[];
  evidence: Evidence[];
  failure: FailureOfTask | null;
  needs_person: boolean;
  at: string;
}

export interface WorkerDetail {
  worker_id: string;
  host: string;
  pid: number;
  queues: string[];
  version: string;
  started_at: string;
  last_seen: string;
  closed_at: string | null;
  close_reason: string | null;
  lease_left_seconds: number | null;
  held_count: number | null;
  held_task_ids: string[] | null;
  types: WorkerType[];
}

export interface WorkerList {
  workers: WorkerView[];
}

export interface WorkerType {
  type: string;
  version: string;
}

export interface WorkerView {
  worker_id: string;
  host: string;
  pid: number;
  queues: string[];
  version: string;
  started_at: string;
  last_seen: string;
  closed_at: string | null;
  close_reason: string | null;
  lease_left_seconds: number | null;
  held_count: number | null;
  held_task_ids: string[] | null;
}

export interface Operations {
  list_tasks: {
    method: "GET";
    path: "/api/tasks";
    query: { state?: "CANCELLED" | "FAILED" | "PENDING" | "PROCESSING" | "SCHEDULED" | "SUCCESS"; queue?: string; type?: string; idempotency_key?: string; label?: string[]; error?: string; limit?: number; cursor?: string; };
    body: undefined;
    answer: TaskPage;
  };
  submit: {
    method: "POST";
    path: "/api/tasks";
    query: {};
    body: SubmitBody;
    answer: TaskView | RememberedTask;
  };
  show: {
    method: "GET";
    path: "/api/tasks/{task_id}";
    query: { wait?: number; };
    body: undefined;
    answer: TaskView;
  };
  erase: {
    method: "DELETE";
    path: "/api/tasks/{task_id}";
    query: {};
    body: undefined;
    answer: TaskView;
  };
  attempts: {
    method: "GET";
    path: "/api/tasks/{task_id}/attempts";
    query: {};
    body: undefined;
    answer: AttemptList;
  };
  why: {
    method: "GET";
    path: "/api/tasks/{task_id}/why";
    query: { idempotency_key?: string; };
    body: undefined;
    answer: Why;
  };
  follow_task: {
    method: "GET";
    path: "/api/tasks/{task_id}/events";
    query: { seconds?: number; };
    body: undefined;
    answer: ReadableStream<Uint8Array>;
  };
  free_key: {
    method: "DELETE";
    path: "/api/tasks/{task_id}/idempotency-key";
    query: {};
    body: undefined;
    answer: TaskView;
  };
  cancel: {
    method: "POST";
    path: "/api/tasks/{task_id}/cancel";
    query: {};
    body: ActionBody;
    answer: TaskView;
  };
  redrive: {
    method: "POST";
    path: "/api/tasks/{task_id}/redrive";
    query: {};
    body: ActionBody;
    answer: TaskView;
  };
  replay: {
    method: "POST";
    path: "/api/tasks/{task_id}/replay";
    query: {};
    body: ReplayBody;
    answer: TaskView;
  };
  life: {
    method: "GET";
    path: "/api/tasks/{task_id}/life";
    query: {};
    body: undefined;
    answer: LifeView;
  };
  submit_batch: {
    method: "POST";
    path: "/api/tasks/batch";
    query: {};
    body: BatchItem[];
    answer: BatchAnswer;
  };
  list_queues: {
    method: "GET";
    path: "/api/queues";
    query: { limit?: number; cursor?: string; };
    body: undefined;
    answer: QueueList;
  };
  pause: {
    method: "POST";
    path: "/api/queues/{queue}/pause";
    query: {};
    body: PauseBody;
    answer: PausedView;
  };
  resume: {
    method: "POST";
    path: "/api/queues/{queue}/resume";
    query: {};
    body: undefined;
    answer: PausedView;
  };
  list_workers: {
    method: "GET";
    path: "/api/workers";
    query: { closed?: boolean; limit?: number; };
    body: undefined;
    answer: WorkerList;
  };
  list_types: {
    method: "GET";
    path: "/api/types";
    query: { limit?: number; cursor?: string; };
    body: undefined;
    answer: TypeList;
  };
  list_failures: {
    method: "GET";
    path: "/api/failures";
    query: { type?: string; queue?: string; state?: "acknowledged" | "known" | "new"; window?: number; limit?: number; cursor?: string; };
    body: undefined;
    answer: FailurePage;
  };
  show_failure: {
    method: "GET";
    path: "/api/failures/{type_name}/{fingerprint}";
    query: {};
    body: undefined;
    answer: FailureDetail;
  };
  acknowledge: {
    method: "POST";
    path: "/api/failures/{type_name}/{fingerprint}/acknowledge";
    query: {};
    body: undefined;
    answer: FailureView;
  };
  unacknowledge: {
    method: "DELETE";
    path: "/api/failures/{type_name}/{fingerprint}/acknowledge";
    query: {};
    body: undefined;
    answer: FailureView;
  };
  list_schedules: {
    method: "GET";
    path: "/api/schedules";
    query: { limit?: number; cursor?: string; };
    body: undefined;
    answer: SchedulePage;
  };
  show_schedule: {
    method: "GET";
    path: "/api/schedules/{schedule}";
    query: {};
    body: undefined;
    answer: ScheduleView;
  };
  put_schedule: {
    method: "PUT";
    path: "/api/schedules/{schedule}";
    query: {};
    body: ScheduleBody;
    answer: ScheduleView;
  };
  delete_schedule: {
    method: "DELETE";
    path: "/api/schedules/{schedule}";
    query: {};
    body: undefined;
    answer: undefined;
  };
  pause_schedule: {
    method: "POST";
    path: "/api/schedules/{schedule}/pause";
    query: {};
    body: undefined;
    answer: ScheduleView;
  };
  resume_schedule: {
    method: "POST";
    path: "/api/schedules/{schedule}/resume";
    query: {};
    body: undefined;
    answer: ScheduleView;
  };
  run_schedule: {
    method: "POST";
    path: "/api/schedules/{schedule}/run";
    query: {};
    body: RunBody;
    answer: RunView;
  };
  list_limits: {
    method: "GET";
    path: "/api/limits";
    query: { limit?: number; cursor?: string; };
    body: undefined;
    answer: LimitList;
  };
  show_limit: {
    method: "GET";
    path: "/api/limits/{name}";
    query: {};
    body: undefined;
    answer: LimitDetail;
  };
  put_limit: {
    method: "PUT";
    path: "/api/limits/{name}";
    query: {};
    body: LimitBody;
    answer: LimitDetail;
  };
  delete_limit: {
    method: "DELETE";
    path: "/api/limits/{name}";
    query: {};
    body: undefined;
    answer: DeletedLimit;
  };
  show_queue: {
    method: "GET";
    path: "/api/queues/{queue}";
    query: {};
    body: undefined;
    answer: QueueLineView;
  };
  put_queue: {
    method: "PUT";
    path: "/api/queues/{queue}";
    query: {};
    body: QueueBody;
    answer: QueueLineView;
  };
  follow_tasks: {
    method: "GET";
    path: "/api/events";
    query: { seconds?: number; queue?: string; type?: string; };
    body: undefined;
    answer: ReadableStream<Uint8Array>;
  };
  list_keys: {
    method: "GET";
    path: "/api/keys";
    query: { ended?: boolean; };
    body: undefined;
    answer: ApiKeyList;
  };
  create_key: {
    method: "POST";
    path: "/api/keys";
    query: {};
    body: KeyBody;
    answer: IssuedKey;
  };
  rotate_key: {
    method: "POST";
    path: "/api/keys/{key_id}/rotate";
    query: {};
    body: RotateBody;
    answer: IssuedKey;
  };
  revoke_key: {
    method: "DELETE";
    path: "/api/keys/{key_id}";
    query: {};
    body: undefined;
    answer: ApiKey;
  };
  limit_key: {
    method: "PATCH";
    path: "/api/keys/{key_id}";
    query: {};
    body: KeyLimitBody;
    answer: ApiKey;
  };
  list_tenants: {
    method: "GET";
    path: "/api/tenants";
    query: {};
    body: undefined;
    answer: TenantList;
  };
  create_tenant: {
    method: "POST";
    path: "/api/tenants";
    query: {};
    body: TenantBody;
    answer: TenantView;
  };
  limit_tenant: {
    method: "PATCH";
    path: "/api/tenants/{name}";
    query: {};
    body: TenantQuotasBody;
    answer: Tenant;
  };
  show_quota: {
    method: "GET";
    path: "/api/quota";
    query: {};
    body: undefined;
    answer: QuotaView;
  };
  list_operations: {
    method: "GET";
    path: "/api/operations";
    query: { action?: "acknowledge" | "cancel" | "create_key" | "create_tenant" | "delete_limit" | "delete_schedule" | "erase" | "free_key" | "limit_key" | "limit_tenant" | "pause" | "pause_schedule" | "put_limit" | "put_queue" | "put_schedule" | "redrive" | "replay" | "resume" | "resume_operation" | "resume_schedule" | "reveal" | "revoke_key" | "rotate_key" | "run_schedule" | "stop_operation" | "unacknowledge"; target?: string; key_id?: string; limit?: number; cursor?: string; };
    body: undefined;
    answer: OperationPage;
  };
  start_operation: {
    method: "POST";
    path: "/api/operations";
    query: {};
    body: StartBody;
    answer: BulkOperationView;
  };
  preview_operation: {
    method: "POST";
    path: "/api/operations/preview";
    query: {};
    body: PreviewBody;
    answer: PreviewView;
  };
  show_operation: {
    method: "GET";
    path: "/api/operations/{operation_id}";
    query: {};
    body: undefined;
    answer: BulkOperationView;
  };
  stop_operation: {
    method: "POST";
    path: "/api/operations/{operation_id}/stop";
    query: {};
    body: undefined;
    answer: BulkOperationView;
  };
  resume_operation: {
    method: "POST";
    path: "/api/operations/{operation_id}/resume";
    query: {};
    body: undefined;
    answer: BulkOperationView;
  };
  list_notices: {
    method: "GET";
    path: "/api/notices";
    query: { name?: string; queue?: string; worker_id?: string; since?: string; until?: string; limit?: number; cursor?: string; };
    body: undefined;
    answer: NoticePage;
  };
  statistics: {
    method: "GET";
    path: "/api/stats";
    query: { window?: "1h" | "24h" | "6h" | "7d"; queue?: string; type?: string; };
    body: undefined;
    answer: Statistics;
  };
  show_census: {
    method: "GET";
    path: "/api/census";
    query: {};
    body: undefined;
    answer: CensusView;
  };
  live: {
    method: "GET";
    path: "/health/live";
    query: {};
    body: undefined;
    answer: Live;
  };
  ready: {
    method: "GET";
    path: "/health/ready";
    query: {};
    body: undefined;
    answer: Ready;
  };
  metrics: {
    method: "GET";
    path: "/metrics";
    query: {};
    body: undefined;
    answer: ReadableStream<Uint8Array>;
  };
  show_overview: {
    method: "GET";
    path: "/api/overview";
    query: {};
    body: undefined;
    answer: Overview;
  };
  list_services: {
    method: "GET";
    path: "/api/services";
    query: {};
    body: undefined;
    answer: ServiceList;
  };
  show_worker: {
    method: "GET";
    path: "/api/workers/{worker_id}";
    query: {};
    body: undefined;
    answer: WorkerDetail;
  };
  list_running: {
    method: "GET";
    path: "/api/running";
    query: {};
    body: undefined;
    answer: Running;
  };
  list_due: {
    method: "GET";
    path: "/api/due";
    query: {};
    body: undefined;
    answer: Due;
  };
  show_type: {
    method: "GET";
    path: "/api/types/{type}";
    query: {};
    body: undefined;
    answer: TypeDetail;
  };
  show_check: {
    method: "GET";
    path: "/api/check";
    query: {};
    body: undefined;
    answer: Check;
  };
}
