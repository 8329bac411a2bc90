CREATE SCHEMA imprint_bridge;

-- The version of the layout, and the lowest version of a program that can read the layout. One row.
CREATE TABLE imprint_bridge.layout (
    version    integer NOT NULL,
    min_reader integer NOT NULL
);

-- The values of the store: its digest key, and the settings that all replicas share.
CREATE TABLE imprint_bridge.meta (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

-- The keys that possibly seal blobs of this store. No bytes stand for blobs that are not sealed.
CREATE TABLE imprint_bridge.sealing_key (
    id bytea PRIMARY KEY
);

-- Sequences and not counters: a counter row would make the appends of all replicas wait for each other, and its dead
-- versions would pile up while a reader holds an old snapshot.
CREATE SEQUENCE imprint_bridge.entry_number;
CREATE SEQUENCE imprint_bridge.lane_number;
CREATE SEQUENCE imprint_bridge.replica_number;

-- The replicas that run. A replica extends its lease by the clock of the database. After the lease has ended, another
-- replica deletes the row and frees the lanes of the replica.
CREATE TABLE imprint_bridge.replica (
    owner       bigint PRIMARY KEY,
    -- A random number of the process: after a crash of the database, the sequence possibly repeats an owner number.
    process     bigint NOT NULL,
    -- The ids of the sealing keys that the process holds.
    keys        bytea[] NOT NULL,
    lease_until timestamptz NOT NULL
);

-- The rows with which each start proves that the database does what the store needs. They exist only during the proof.
CREATE TABLE imprint_bridge.proof (
    run   bigint,
    id    bigint,
    owner bigint,
    epoch bigint NOT NULL,
    at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, id)
);

-- The state of Imprint under each API key, on which the replicas agree: a text that only dispatch reads. A replica changes
-- the state only if it knows the last revision.
CREATE TABLE imprint_bridge.agreed_state (
    key      bigint PRIMARY KEY,
    revision bigint NOT NULL,
    state    text NOT NULL
);

-- The token bucket of each API key, by the clock of the database. Not logged, so an order of tokens waits for no disk and
-- no standby: after a crash of the server, each bucket starts again with one token.
CREATE UNLOGGED TABLE imprint_bridge.budget (
    key       bigint PRIMARY KEY,
    tokens    double precision NOT NULL,
    -- The number of tokens that the last order got.
    granted   bigint NOT NULL,
    filled_at timestamptz NOT NULL
);

-- The receipt of every accepted event. The keys are keyed digests: of the source and the id of the event, and of its
-- CloudEvents source. They stay when the ids are erased, so that the store recognizes the event again.
CREATE TABLE imprint_bridge.entry (
    id            bigint PRIMARY KEY,
    event_key     bytea NOT NULL,
    ce_key        bytea NOT NULL,
    source        text NOT NULL,
    ce_source     text NOT NULL,
    event_id      text NOT NULL,
    event_type    text NOT NULL,
    digest        bytea NOT NULL,
    lane          bigint,
    accepted_at   bigint NOT NULL,
    state         smallint NOT NULL,
    attempts      bigint NOT NULL DEFAULT 0,
    settled_at    bigint,
    superseded_by bigint,
    ignored       smallint,
    -- The errors of the fields that the update leaves out. NULL means that the update leaves out no field.
    skipped       bytea
);
CREATE UNIQUE INDEX entry_identity ON imprint_bridge.entry (event_key, ce_key);
CREATE INDEX entry_ended ON imprint_bridge.entry (lane, id) WHERE settled_at IS NOT NULL;

-- The update and the event of every entry that has not ended. The states are 0 waiting, 4 parked, 6 held, 7 undecided.
-- An entry that is parked as invalid belongs to lane 0, which does not exist, and its update is empty.
CREATE TABLE imprint_bridge.payload (
    entry       bigint PRIMARY KEY,
    lane        bigint NOT NULL,
    state       smallint NOT NULL,
    source      text NOT NULL,
    epoch       bigint NOT NULL,
    value       bigint NOT NULL,
    facts       bytea NOT NULL,
    event       bytea NOT NULL,
    event_bytes bigint NOT NULL,
    -- The CRM's id in the event, if the update is not sealed, and whether the event names Imprint's id.
    partner     text,
    stated      boolean NOT NULL,
    accepted_at bigint NOT NULL,
    jump_max    bigint,
    -- Of a parked entry.
    reason      smallint,
    detail      bytea,
    errors      bytea
);
CREATE INDEX payload_waiting ON imprint_bridge.payload (lane, entry) WHERE state = 0;
CREATE INDEX payload_set_aside ON imprint_bridge.payload (lane, entry) WHERE state <> 0;
CREATE INDEX payload_by_state ON imprint_bridge.payload (state, entry) WHERE state <> 0;

-- The entries that wait for one customer, and what Imprint has of the customer. Outlives its entries.
CREATE TABLE imprint_bridge.lane (
    id             bigint PRIMARY KEY,
    -- 0: a customer with Imprint's id. 1: a customer with only the CRM's id.
    kind           smallint NOT NULL,
    -- The keyed digest of the customer's id, and the id as it was received.
    customer       bytea NOT NULL,
    received       bytea,
    -- NULL while nothing waits. `idle` is true while the lane is due only to send delivered values again.
    due_at         bigint,
    idle           boolean NOT NULL,
    -- The number of the queue of due lanes.
    low            smallint NOT NULL,
    failures       bigint NOT NULL DEFAULT 0,
    spent          bigint NOT NULL DEFAULT 0,
    tried_at       bigint,
    blamed_since   bigint,
    unfold_to      bigint,
    versions       bytea,
    -- What a lost replica possibly has sent: 0 nothing, a positive number the entries up to this number, -1 any value, -2 any
    -- value, as it became known during the claim.
    maybe_sent     bigint NOT NULL DEFAULT 0,
    -- Imprint's answer about the id in `received`: 1 after an applied update, 2 if Imprint has no such customer.
    spelled        smallint NOT NULL DEFAULT 0,
    unproven_since bigint,
    absence        bytea,
    -- The row is the tombstone of an erased customer, whose later events are 0 delivered or 1 ignored, or of a customer to whom
    -- nothing has happened for a long time (2).
    erased         smallint,
    -- The replica that has claimed the lane, and the number of the last claim: the fence of a settlement.
    owner          bigint,
    epoch          bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX lane_customer ON imprint_bridge.lane (kind, customer);
CREATE INDEX lane_due ON imprint_bridge.lane (low, due_at, id) WHERE due_at IS NOT NULL AND owner IS NULL;
CREATE INDEX lane_claimed ON imprint_bridge.lane (owner) WHERE owner IS NOT NULL;
CREATE INDEX lane_absent ON imprint_bridge.lane (id) WHERE absence IS NOT NULL;
CREATE INDEX lane_gone ON imprint_bridge.lane (id) WHERE spelled = 2;

-- What Imprint said about a CRM's id: the keyed digests of both ids, and the ids.
CREATE TABLE imprint_bridge.link (
    partner      bytea PRIMARY KEY,
    imprint      bytea,
    ids          bytea NOT NULL,
    confirmed_at bigint NOT NULL
);
CREATE INDEX link_imprint ON imprint_bridge.link (imprint) WHERE imprint IS NOT NULL;

-- The origins of values that Imprint still has, of entries whose receipts retention has deleted.
CREATE TABLE imprint_bridge.origin (
    entry        bigint PRIMARY KEY,
    lane         bigint NOT NULL,
    source       text NOT NULL,
    ce_source    text NOT NULL,
    event_id     text NOT NULL,
    delivered_at bigint NOT NULL,
    attempts     bigint NOT NULL
);
CREATE INDEX origin_lane ON imprint_bridge.origin (lane);

-- The audit log: one chain of seals over the actions of all replicas. The row of the head has the highest number that a
-- record ever had, and an append locks it until the commit.
CREATE TABLE imprint_bridge.audit (
    number   bigint PRIMARY KEY,
    at       bigint NOT NULL,
    operator text NOT NULL,
    action   text NOT NULL,
    target   text NOT NULL,
    entries  bigint NOT NULL,
    reason   bytea,
    seal     bytea NOT NULL
);
CREATE TABLE imprint_bridge.audit_head (
    number bigint NOT NULL
);
INSERT INTO imprint_bridge.audit_head (number) VALUES (0);

-- The numbers of entries that have not ended, and the bytes of their events: the sum of all rows of a source. Every
-- commit adds a row, because one row for each source would make the commits of all replicas wait for each other.
CREATE TABLE imprint_bridge.tally (
    source    text NOT NULL,
    waiting   bigint NOT NULL,
    parked    bigint NOT NULL,
    held      bigint NOT NULL,
    undecided bigint NOT NULL,
    bytes     bigint NOT NULL
);

INSERT INTO imprint_bridge.layout (version, min_reader) VALUES (1, 1);
