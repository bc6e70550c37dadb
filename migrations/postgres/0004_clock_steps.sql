-- Steps of the database's clock: a new primary has another machine's clock, and clocks are set. Callers compare it with
-- a steady clock; `expected` is what that predicts for the moment of the call, NULL = nothing.
SET LOCAL search_path = stateward_views;

-- How long a lease was given for, in microseconds. In no index, as all that a lease changes.
ALTER TABLE sync_leases ADD COLUMN lasts bigint NOT NULL DEFAULT 30000000;

-- The last step: until when a lease may be of the time before it, and how far the clock was behind then (0 or less).
CREATE TABLE lease_clock (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    careful_until bigint NOT NULL DEFAULT 0,
    low           bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO lease_clock DEFAULT VALUES;

-- Whether a lease ended. For one lease time after a step only one that had ended a whole lease before, by the clock
-- before and after the step; then also one that ends later than a lease can: it is of the time before a step.
CREATE FUNCTION lease_ended(until bigint, lasts bigint, now bigint, careful_until bigint, low bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN until = 0 THEN true
        WHEN now < careful_until THEN until + lasts <= now + low
        ELSE until <= now OR until > now + lasts + 2000000 END
$$;

-- Records a step of more than two seconds: less than a worker's margin.
CREATE FUNCTION note_step(now bigint, expected bigint, lasting bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF abs(now - expected) > 2000000 THEN
        UPDATE lease_clock c SET
            low = least(0, expected - now, CASE WHEN now < c.careful_until THEN c.low ELSE 0 END),
            careful_until = now + greatest(lasting, (SELECT max(l.lasts) FROM sync_leases l WHERE l.worker IS NOT NULL));
    END IF;
END $$;

-- As lease_v1.
CREATE FUNCTION lease_v2(
    l_backend text, l_worker text, l_duration bigint, l_limit bigint, l_checks bigint, steady bigint, given bigint,
    expected bigint
) RETURNS TABLE (o_entity text, o_position text, o_idle boolean, o_observed bigint)
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE now bigint; arrived bigint := clock_or(given); clock lease_clock%ROWTYPE;
BEGIN
    PERFORM note_step(arrived, expected, l_duration);
    PERFORM lock_backend(l_backend);
    PERFORM durably();
    -- Behind the lock: an earlier time would let a lease pass for one that has not ended.
    now := clock_or(given);
    -- A step while it waited; no lock is waited for longer.
    PERFORM note_step(now, CASE WHEN now - arrived NOT BETWEEN 0 AND 5000000 THEN arrived END, l_duration);
    SELECT * INTO clock FROM lease_clock;
    RETURN QUERY WITH w0 AS MATERIALIZED (
        SELECT q.entity, 0 AS sort, q.lease_after AS at FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
        WHERE q.backend = l_backend AND q.priority = 0 AND q.lease_after <= steady
            AND (l.entity IS NULL OR (lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
                AND (l.snooze <= steady OR q.position > l.seen)))
        ORDER BY q.lease_after LIMIT l_limit
    ), w1 AS MATERIALIZED (
        SELECT q.entity, 1 AS sort, q.lease_after AS at FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
        WHERE q.backend = l_backend AND q.priority = 1 AND q.lease_after <= steady
            AND (l.entity IS NULL OR (lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
                AND (l.snooze <= steady OR q.position > l.seen)))
        ORDER BY q.lease_after LIMIT l_limit
    ), w2 AS MATERIALIZED (
        SELECT q.entity, 2 AS sort, q.lease_after AS at FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
        WHERE q.backend = l_backend AND q.priority = 2 AND q.lease_after <= steady
            AND (l.entity IS NULL OR (lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
                AND (l.snooze <= steady OR q.position > l.seen)))
        ORDER BY q.lease_after LIMIT l_limit
    ), checks AS MATERIALIZED (
        SELECT l.entity, 3 AS sort, l.drift_due AS at
        FROM sync_leases l JOIN sync_queue q ON q.entity = l.entity AND q.backend = l.backend
        WHERE l.backend = l_backend AND l.drift_due <= steady AND q.due IS NULL
            AND lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
        ORDER BY l.drift_due LIMIT l_checks
    ), chosen AS MATERIALIZED (
        SELECT x.entity, x.sort, x.at FROM (TABLE w0 UNION ALL TABLE w1 UNION ALL TABLE w2 UNION ALL TABLE checks) x
        ORDER BY x.sort, x.at LIMIT l_limit
    ), taken AS (
        INSERT INTO sync_leases AS l (entity, backend, worker, until, lasts)
            SELECT c.entity, l_backend, l_worker, now + l_duration, l_duration FROM chosen c ORDER BY c.entity
        ON CONFLICT (entity) DO UPDATE SET backend = excluded.backend, worker = excluded.worker,
            until = excluded.until, lasts = excluded.lasts, snooze = 0
            WHERE lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
        RETURNING l.entity
    )
    SELECT t.entity::text, q.position, q.due IS NULL, o.confirmation
        FROM taken t JOIN chosen c ON c.entity = t.entity JOIN sync_queue q ON q.entity = t.entity
        LEFT JOIN sync_observed o ON o.entity = t.entity
        ORDER BY c.sort, c.at;
END $$;

-- As renew_v1.
CREATE FUNCTION renew_v2(h_entity uuid[], h_worker text[], h_duration bigint, given bigint, expected bigint)
RETURNS SETOF text LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE now bigint; clock lease_clock%ROWTYPE;
BEGIN
    PERFORM durably();
    PERFORM note_step(clock_or(given), expected, h_duration);
    PERFORM FROM sync_leases l WHERE l.entity = ANY (h_entity) ORDER BY l.entity FOR UPDATE;
    now := clock_or(given);
    SELECT * INTO clock FROM lease_clock;
    RETURN QUERY UPDATE sync_leases l SET until = now + h_duration, lasts = h_duration
        FROM unnest(h_entity, h_worker) AS h(entity, worker)
        WHERE l.entity = h.entity AND l.worker = h.worker
            AND NOT lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low) RETURNING l.entity::text;
END $$;

-- As beat_v1: a member lives as long as a lease of this length would.
CREATE FUNCTION beat_v2(
    m_id uuid, m_name text, m_role text, m_version text, m_knows bigint, m_seen text, m_backends text, lasts bigint,
    given bigint, expected bigint
) RETURNS TABLE (
    o_id uuid, o_name text, o_role text, o_version text, o_knows bigint, o_seen text, o_backends text
) LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE now bigint := clock_or(given); clock lease_clock%ROWTYPE;
BEGIN
    PERFORM lazily();
    PERFORM note_step(now, expected, lasts);
    SELECT * INTO clock FROM lease_clock;
    -- Those that another member changes at this moment are left to it.
    DELETE FROM members WHERE id IN (SELECT m.id FROM members m
        WHERE lease_ended(m.until, lasts, now, clock.careful_until, clock.low) FOR UPDATE SKIP LOCKED);
    UPDATE members SET name = m_name, role = m_role, version = m_version, knows = m_knows, seen = m_seen,
        backends = m_backends, until = now + lasts WHERE id = m_id;
    IF NOT FOUND THEN
        INSERT INTO members (id, name, role, version, knows, seen, backends, until)
            VALUES (m_id, m_name, m_role, m_version, m_knows, m_seen, m_backends, now + lasts);
    END IF;
    RETURN QUERY SELECT m.id, m.name, m.role, m.version, m.knows, m.seen, m.backends
        FROM members m WHERE NOT lease_ended(m.until, lasts, now, clock.careful_until, clock.low)
        ORDER BY m.came;
END $$;

-- As hold_v1. A duty that ends later than it can was taken before a step: that it is held twice for a while harms nothing.
CREATE FUNCTION hold_v2(d_name text, d_member uuid, lasts bigint, given bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE now bigint := clock_or(given);
BEGIN
    PERFORM lazily();
    INSERT INTO duties AS d (name, member, until) VALUES (d_name, d_member, now + lasts)
        ON CONFLICT (name) DO UPDATE SET member = excluded.member, until = excluded.until
        WHERE d.member = excluded.member OR d.until <= now
            OR d.until > now + lasts + 2000000;
    RETURN FOUND;
END $$;
