-- Which event the values came from that Imprint still has, after retention has deleted the event's receipt. Without values.
CREATE TABLE origin (
    entry        INTEGER PRIMARY KEY,
    lane         INTEGER NOT NULL,
    source       TEXT NOT NULL,
    ce_source    TEXT NOT NULL,
    event_id     TEXT NOT NULL,
    delivered_at INTEGER NOT NULL,
    attempts     INTEGER NOT NULL
);
CREATE INDEX origin_lane ON origin (lane);
