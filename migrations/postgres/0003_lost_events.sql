-- What the last epoch began for: events that a process had seen and that are gone, as after a failover to a standby that
-- did not have them. 0 = none were missed.
SET LOCAL search_path = stateward;

ALTER TABLE log ADD COLUMN lost_events bigint NOT NULL DEFAULT 0;
ALTER TABLE log ADD COLUMN lost_at     bigint;
