-- The concurrency of a backend holds for all processes together: it is granted where leases are taken.
SET LOCAL search_path = stateward_views;

-- Whether the member changes nothing on any backend.
ALTER TABLE members ADD COLUMN observe_only boolean NOT NULL DEFAULT false;

-- One row for each backend: the entities that were leased within its concurrency, and those among them with a drift
-- check. `sync_leases` says which of them still are, so a renewal, a release and the end of a lease write nothing here.
-- `short_until`: until then each process keeps to its part, because one had less. Not in any index.
CREATE TABLE lease_grants (
    backend     text COLLATE "C" PRIMARY KEY,
    leased      uuid[] NOT NULL DEFAULT '{}',
    checked     uuid[] NOT NULL DEFAULT '{}',
    short_until bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
-- Random numbers do not compress.
ALTER TABLE lease_grants ALTER COLUMN leased SET STORAGE EXTERNAL, ALTER COLUMN checked SET STORAGE EXTERNAL;

-- Those of the entities that are leased on the backend. A lease that ended without a release counts while a renewal is in
-- flight, and, where `takeover` is false, for as long as it is in the table.
CREATE FUNCTION still_leased(
    entities uuid[], of_backend text, takeover boolean, now bigint, careful_until bigint, low bigint
) RETURNS uuid[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE ended uuid[] := '{}';
BEGIN
    IF takeover THEN
        ended := ARRAY(SELECT l.entity FROM sync_leases l WHERE l.entity = ANY (entities) AND l.until <> 0
            AND lease_ended(l.until, l.lasts, now, careful_until, low) FOR UPDATE SKIP LOCKED);
    END IF;
    RETURN ARRAY(SELECT l.entity FROM sync_leases l WHERE l.entity = ANY (entities) AND l.backend = of_backend
        AND l.until <> 0 AND l.entity <> ALL (ended));
END $$;

-- As lease_v2, within a concurrency: `q_leases` of all processes, `q_checks` of them for drift checks; NULL = no limit,
-- and what is leased does not count. `q_running`: leases of the process that asks; `q_least`, `q_most`: its part,
-- rounded down and up. `takeover`: whether leases that ended without a release are taken.
CREATE FUNCTION lease_v3(
    l_backend text, l_worker text, l_duration bigint, l_limit bigint, l_checks bigint, steady bigint, given bigint,
    expected bigint, takeover boolean, q_leases bigint, q_checks bigint, q_running bigint, q_least bigint, q_most bigint
) RETURNS TABLE (o_entity text, o_position text, o_idle boolean, o_observed bigint)
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE now bigint; arrived bigint := clock_or(given); clock lease_clock%ROWTYPE; known lease_grants%ROWTYPE;
    live uuid[]; checking uuid[]; room bigint := l_limit; check_room bigint := l_checks; got bigint;
BEGIN
    PERFORM note_step(arrived, expected, l_duration);
    PERFORM lock_backend(l_backend);
    PERFORM durably();
    -- Behind the lock: an earlier time would let a lease pass for one that has not ended.
    now := clock_or(given);
    -- A step while it waited; no lock is waited for longer.
    PERFORM note_step(now, CASE WHEN now - arrived NOT BETWEEN 0 AND 5000000 THEN arrived END, l_duration);
    SELECT * INTO clock FROM lease_clock;
    IF q_leases IS NOT NULL THEN
        SELECT * INTO known FROM lease_grants g WHERE g.backend = l_backend;
        live := still_leased(known.leased, l_backend, takeover, now, clock.careful_until, clock.low);
        checking := ARRAY(SELECT unnest(live) INTERSECT SELECT unnest(known.checked));
        room := least(room, q_leases - cardinality(live));
        IF known.short_until BETWEEN now AND now + 3000000 THEN
            room := least(room, q_most - q_running);
        END IF;
        room := greatest(room, 0);
        check_room := greatest(0, least(check_room, q_checks - cardinality(checking)));
    END IF;
    RETURN QUERY WITH w0 AS MATERIALIZED (
        SELECT q.entity, 0 AS sort, q.lease_after AS at FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
        WHERE q.backend = l_backend AND q.priority = 0 AND q.lease_after <= steady
            AND (l.entity IS NULL OR ((l.until = 0 OR takeover)
                AND lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
                AND (l.snooze <= steady OR q.position > l.seen)))
        ORDER BY q.lease_after LIMIT room
    ), w1 AS MATERIALIZED (
        SELECT q.entity, 1 AS sort, q.lease_after AS at FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
        WHERE q.backend = l_backend AND q.priority = 1 AND q.lease_after <= steady
            AND (l.entity IS NULL OR ((l.until = 0 OR takeover)
                AND lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
                AND (l.snooze <= steady OR q.position > l.seen)))
        ORDER BY q.lease_after LIMIT room
    ), w2 AS MATERIALIZED (
        SELECT q.entity, 2 AS sort, q.lease_after AS at FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
        WHERE q.backend = l_backend AND q.priority = 2 AND q.lease_after <= steady
            AND (l.entity IS NULL OR ((l.until = 0 OR takeover)
                AND lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
                AND (l.snooze <= steady OR q.position > l.seen)))
        ORDER BY q.lease_after LIMIT room
    ), checks AS MATERIALIZED (
        SELECT l.entity, 3 AS sort, l.drift_due AS at
        FROM sync_leases l JOIN sync_queue q ON q.entity = l.entity AND q.backend = l.backend
        WHERE l.backend = l_backend AND l.drift_due <= steady AND q.due IS NULL AND (l.until = 0 OR takeover)
            AND lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
        ORDER BY l.drift_due LIMIT check_room
    ), chosen AS MATERIALIZED (
        SELECT x.entity, x.sort, x.at FROM (TABLE w0 UNION ALL TABLE w1 UNION ALL TABLE w2 UNION ALL TABLE checks) x
        ORDER BY x.sort, x.at LIMIT room
    ), taken AS (
        INSERT INTO sync_leases AS l (entity, backend, worker, until, lasts)
            SELECT c.entity, l_backend, l_worker, now + l_duration, l_duration FROM chosen c ORDER BY c.entity
        ON CONFLICT (entity) DO UPDATE SET backend = excluded.backend, worker = excluded.worker,
            until = excluded.until, lasts = excluded.lasts, snooze = 0
            WHERE (l.until = 0 OR takeover) AND lease_ended(l.until, l.lasts, now, clock.careful_until, clock.low)
        RETURNING l.entity
    ), granted AS (
        INSERT INTO lease_grants AS g (backend, leased, checked)
            SELECT l_backend, live || array_agg(t.entity),
                checking || coalesce(array_agg(t.entity) FILTER (WHERE c.sort = 3), '{}')
            FROM taken t JOIN chosen c ON c.entity = t.entity WHERE q_leases IS NOT NULL HAVING count(*) > 0
        ON CONFLICT (backend) DO UPDATE SET leased = excluded.leased, checked = excluded.checked
    )
    SELECT t.entity::text, q.position, q.due IS NULL, o.confirmation
        FROM taken t JOIN chosen c ON c.entity = t.entity JOIN sync_queue q ON q.entity = t.entity
        LEFT JOIN sync_observed o ON o.entity = t.entity
        ORDER BY c.sort, c.at;
    GET DIAGNOSTICS got = ROW_COUNT;
    -- Less than its part, and more is due: the others leave it what ends next. Written once in 1.5 s at most.
    IF q_running + got < q_least AND got = room AND room < l_limit
        AND coalesce(known.short_until NOT BETWEEN now + 1500000 AND now + 3000000, true)
        AND EXISTS (SELECT FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
            WHERE q.backend = l_backend AND q.priority = ANY ('{0,1,2}') AND q.lease_after <= steady
            AND (l.entity IS NULL OR (l.until = 0 AND (l.snooze <= steady OR q.position > l.seen))))
    THEN
        IF got = 0 THEN
            -- It may be lost; the lock is not held until a disk has it.
            PERFORM lazily();
        END IF;
        INSERT INTO lease_grants AS g (backend, short_until) VALUES (l_backend, now + 3000000)
            ON CONFLICT (backend) DO UPDATE SET short_until = excluded.short_until;
    END IF;
END $$;

-- As beat_v2.
CREATE FUNCTION beat_v3(
    m_id uuid, m_name text, m_role text, m_version text, m_knows bigint, m_seen text, m_backends text,
    m_observe_only boolean, lasts bigint, given bigint, expected bigint
) RETURNS TABLE (
    o_id uuid, o_name text, o_role text, o_version text, o_knows bigint, o_seen text, o_backends text,
    o_observe_only boolean
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
        backends = m_backends, observe_only = m_observe_only, until = now + lasts WHERE id = m_id;
    IF NOT FOUND THEN
        INSERT INTO members (id, name, role, version, knows, seen, backends, observe_only, until)
            VALUES (m_id, m_name, m_role, m_version, m_knows, m_seen, m_backends, m_observe_only, now + lasts);
    END IF;
    RETURN QUERY SELECT m.id, m.name, m.role, m.version, m.knows, m.seen, m.backends, m.observe_only
        FROM members m WHERE NOT lease_ended(m.until, lasts, now, clock.careful_until, clock.low)
        ORDER BY m.came;
END $$;
