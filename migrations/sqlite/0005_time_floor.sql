-- No event is recorded at an earlier time from now on. Events are recorded at rising times since then; before, a clock that
-- was set back left later times behind earlier ones, so all of them are looked at once.
ALTER TABLE log ADD COLUMN time_floor INTEGER NOT NULL DEFAULT 0;
UPDATE log SET time_floor = (SELECT coalesce(max(recorded_at), 0) FROM events);
