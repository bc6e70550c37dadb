-- What a process has to read, and how new it has to be, to work on the log: so that versions can follow each other while
-- others run.
SET LOCAL search_path = stateward;

-- `catalogue`: the newest catalogue of event types in the log; it never sinks. `oldest_schema`: the oldest version of
-- this schema whose processes may start; each migration that older ones cannot live beside sets it to its own number.
ALTER TABLE log ADD COLUMN catalogue     bigint NOT NULL DEFAULT 1;
ALTER TABLE log ADD COLUMN oldest_schema bigint NOT NULL DEFAULT 6;

-- Raises the catalogue unless a member that lives reads less. Heartbeats take the same lock, so a process that joins
-- finds the catalogue raised, or is found. Durable: events that need it follow.
CREATE FUNCTION raise_catalogue_v1(wanted bigint, given bigint, lasts bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = stateward, stateward_views, pg_temp AS $$
DECLARE now bigint; clock lease_clock%ROWTYPE;
BEGIN
    PERFORM durably();
    PERFORM pg_advisory_xact_lock(x'535457424541'::bigint);
    now := clock_or(given);
    SELECT * INTO clock FROM lease_clock;
    IF EXISTS (SELECT FROM members m WHERE m.knows < wanted
        AND NOT lease_ended(m.until, lasts, now, clock.careful_until, clock.low)) THEN
        RETURN false;
    END IF;
    UPDATE log SET catalogue = wanted WHERE catalogue < wanted;
    RETURN true;
END $$;
