-- Everything here follows from the log, but for leases, which may be lost. Text that is compared is in byte order.
-- Read models make their tables as the application's role: see `crates/store/src/postgres/views/tables.rs`.
CREATE SCHEMA IF NOT EXISTS stateward_views;
SET LOCAL search_path = stateward_views;

-- `tables`: number of the projection's tables. `changes` counts what was changed without moving the position.
CREATE TABLE checkpoints (
    name     text COLLATE "C" PRIMARY KEY,
    position text COLLATE "C" NOT NULL,
    tables   bigint NOT NULL DEFAULT 0,
    changes  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO checkpoints (name, position) VALUES ('sync_queue', repeat('0', 40));
-- Numbers of tables: none is used twice.
CREATE SEQUENCE tables AS bigint;

CREATE TABLE quarantine (
    model    text COLLATE "C" NOT NULL,
    stream   text COLLATE "C" NOT NULL,
    position text COLLATE "C" NOT NULL,
    message  text NOT NULL,
    PRIMARY KEY (model, stream)
);

-- Written by the executor alone.
CREATE TABLE sync_queue (
    entity      uuid PRIMARY KEY,
    backend     text COLLATE "C" NOT NULL,
    priority    bigint NOT NULL,
    since       bigint,
    due         bigint,
    waits_for   text COLLATE "C",
    position    text COLLATE "C" NOT NULL,
    lease_after bigint
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX sync_queue_lease_after ON sync_queue (backend, priority, lease_after) WHERE lease_after IS NOT NULL;
CREATE INDEX sync_queue_waits ON sync_queue (waits_for) WHERE waits_for IS NOT NULL;
CREATE TABLE sync_uses (
    user_id uuid NOT NULL,
    used    text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, used)
);
CREATE INDEX sync_uses_used ON sync_uses (used, user_id);

-- Written by workers alone. What a lease changes (worker, until, snooze, seen) is in no index: else no update is HOT.
CREATE TABLE sync_leases (
    entity    uuid PRIMARY KEY,
    backend   text COLLATE "C" NOT NULL,
    worker    text COLLATE "C",
    until     bigint NOT NULL DEFAULT 0,
    snooze    bigint NOT NULL DEFAULT 0,
    seen      text COLLATE "C" NOT NULL DEFAULT '',
    drift_due bigint
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX sync_leases_drift ON sync_leases (backend, drift_due) WHERE drift_due IS NOT NULL;
CREATE TABLE sync_observed (
    entity       uuid PRIMARY KEY,
    confirmation bigint NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE sync_observed_since (
    backend      text COLLATE "C" PRIMARY KEY,
    confirmation bigint NOT NULL
);

CREATE TABLE members (
    id       uuid PRIMARY KEY,
    came     bigint GENERATED ALWAYS AS IDENTITY,
    name     text NOT NULL,
    role     text NOT NULL,
    version  text NOT NULL,
    knows    bigint NOT NULL,
    seen     text COLLATE "C" NOT NULL,
    backends text NOT NULL,
    until    bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE duties (
    name   text COLLATE "C" PRIMARY KEY,
    member uuid NOT NULL,
    until  bigint NOT NULL
) WITH (fillfactor = 50);

-- The clock of leases, duties and members; a test gives another.
CREATE FUNCTION clock_or(given bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
$$;

-- The transaction's commit need not be durable at once: what it writes follows from the log, or may be lost.
CREATE FUNCTION lazily() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
END $$;

-- The transaction's commit is durable, whatever the role or the database is set to.
CREATE FUNCTION durably() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true)
        WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
END $$;

-- One transaction at a time leases of a backend. Two numbers: the log's markers are advisory locks of one number.
CREATE FUNCTION lock_backend(locked text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(x'5356'::int, hashtext(locked));
END $$;

-- A delivery of the executor: the rows that it woke; NULL, and nothing was changed, when the checkpoint is elsewhere.
-- Puts, then removals, then wake-ups. Each key of `w_key` and `b_backend` stands there once.
CREATE FUNCTION advance_v1(
    c_from text, c_to text, steady bigint,
    p_entity text[], p_backend text[], p_priority bigint[], p_since bigint[], p_due bigint[], p_waits_for text[],
    p_position text[], p_lease_after bigint[], u_user uuid[], u_used text[], removed uuid[],
    w_key text[], w_at bigint[], w_position text[], b_backend text[], b_at bigint[], b_position text[]
) RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE done bigint; woken bigint := 0;
BEGIN
    UPDATE checkpoints SET position = c_to WHERE name = 'sync_queue' AND position = c_from;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM lazily();
    IF cardinality(p_entity) > 0 THEN
        INSERT INTO sync_queue (entity, backend, priority, since, due, waits_for, position, lease_after)
            SELECT e::uuid, b, p, s, d, w, o, l
            FROM unnest(p_entity, p_backend, p_priority, p_since, p_due, p_waits_for, p_position, p_lease_after)
                AS n(e, b, p, s, d, w, o, l)
            ON CONFLICT (entity) DO UPDATE SET backend = excluded.backend, priority = excluded.priority,
                since = excluded.since, due = excluded.due, waits_for = excluded.waits_for,
                position = excluded.position, lease_after = excluded.lease_after;
        DELETE FROM sync_uses WHERE user_id = ANY (p_entity::uuid[]);
        INSERT INTO sync_uses (user_id, used) SELECT u, t FROM unnest(u_user, u_used) AS n(u, t);
    END IF;
    IF cardinality(removed) > 0 THEN
        DELETE FROM sync_uses WHERE user_id = ANY (removed);
        DELETE FROM sync_queue WHERE entity = ANY (removed);
    END IF;
    IF cardinality(w_key) > 0 THEN
        UPDATE sync_queue q SET due = least(q.due, w.at), lease_after = least(q.lease_after, steady),
            position = greatest(q.position, w.position)
            FROM unnest(w_key, w_at, w_position) AS w(key, at, position)
            WHERE q.waits_for = w.key AND q.due IS NOT NULL;
        GET DIAGNOSTICS done = ROW_COUNT;
        woken := woken + done;
    END IF;
    IF cardinality(b_backend) > 0 THEN
        UPDATE sync_queue q SET due = least(q.due, w.at), lease_after = least(q.lease_after, steady),
            position = greatest(q.position, w.position)
            FROM unnest(b_backend, b_at, b_position) AS w(backend, at, position)
            WHERE q.waits_for = 'backend' AND q.backend = w.backend AND q.due IS NOT NULL;
        GET DIAGNOSTICS done = ROW_COUNT;
        woken := woken + done;
    END IF;
    RETURN woken;
END $$;

CREATE FUNCTION reset_queue_v1() RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
BEGIN
    UPDATE checkpoints SET position = repeat('0', 40) WHERE name = 'sync_queue';
    PERFORM lazily();
    DELETE FROM sync_queue;
    DELETE FROM sync_uses;
    DELETE FROM quarantine WHERE model = 'sync_queue';
END $$;

-- Puts a stream in quarantine, or ends that when there is no position.
CREATE FUNCTION quarantine_v1(q_model text, q_stream text, q_position text, q_message text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
BEGIN
    UPDATE checkpoints SET changes = changes + 1 WHERE name = q_model;
    PERFORM lazily();
    IF q_position IS NULL THEN
        DELETE FROM quarantine WHERE model = q_model AND stream = q_stream;
    ELSE
        INSERT INTO quarantine (model, stream, position, message) VALUES (q_model, q_stream, q_position, q_message)
            ON CONFLICT (model, stream) DO UPDATE SET position = excluded.position, message = excluded.message;
    END IF;
END $$;

-- Leases what is due: work by priority and age, then checks, at most `l_checks` of them. Durable: a lease that a
-- failover loses would let two workers act. `steady`: the caller's clock, by which work becomes due.
CREATE FUNCTION lease_v1(
    l_backend text, l_worker text, l_duration bigint, l_limit bigint, l_checks bigint, steady bigint, given bigint
) RETURNS TABLE (o_entity text, o_position text, o_idle boolean, o_observed bigint)
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE now bigint;
BEGIN
    PERFORM lock_backend(l_backend);
    PERFORM durably();
    -- Behind the lock: an earlier time would let a lease pass for one that has not ended.
    now := clock_or(given);
    RETURN QUERY WITH w0 AS MATERIALIZED (
        SELECT q.entity, 0 AS sort, q.lease_after AS at FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
        WHERE q.backend = l_backend AND q.priority = 0 AND q.lease_after <= steady
            AND (l.entity IS NULL OR (l.until <= now AND (l.snooze <= steady OR q.position > l.seen)))
        ORDER BY q.lease_after LIMIT l_limit
    ), w1 AS MATERIALIZED (
        SELECT q.entity, 1 AS sort, q.lease_after AS at FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
        WHERE q.backend = l_backend AND q.priority = 1 AND q.lease_after <= steady
            AND (l.entity IS NULL OR (l.until <= now AND (l.snooze <= steady OR q.position > l.seen)))
        ORDER BY q.lease_after LIMIT l_limit
    ), w2 AS MATERIALIZED (
        SELECT q.entity, 2 AS sort, q.lease_after AS at FROM sync_queue q LEFT JOIN sync_leases l ON l.entity = q.entity
        WHERE q.backend = l_backend AND q.priority = 2 AND q.lease_after <= steady
            AND (l.entity IS NULL OR (l.until <= now AND (l.snooze <= steady OR q.position > l.seen)))
        ORDER BY q.lease_after LIMIT l_limit
    ), checks AS MATERIALIZED (
        SELECT l.entity, 3 AS sort, l.drift_due AS at
        FROM sync_leases l JOIN sync_queue q ON q.entity = l.entity AND q.backend = l.backend
        WHERE l.backend = l_backend AND l.drift_due <= steady AND l.until <= now AND q.due IS NULL
        ORDER BY l.drift_due LIMIT l_checks
    ), chosen AS MATERIALIZED (
        SELECT x.entity, x.sort, x.at FROM (TABLE w0 UNION ALL TABLE w1 UNION ALL TABLE w2 UNION ALL TABLE checks) x
        ORDER BY x.sort, x.at LIMIT l_limit
    ), taken AS (
        INSERT INTO sync_leases AS l (entity, backend, worker, until)
            SELECT c.entity, l_backend, l_worker, now + l_duration FROM chosen c ORDER BY c.entity
        ON CONFLICT (entity) DO UPDATE SET backend = excluded.backend, worker = excluded.worker,
            until = excluded.until, snooze = 0 WHERE l.until <= now
        RETURNING l.entity
    )
    SELECT t.entity::text, q.position, q.due IS NULL, o.confirmation
        FROM taken t JOIN chosen c ON c.entity = t.entity JOIN sync_queue q ON q.entity = t.entity
        LEFT JOIN sync_observed o ON o.entity = t.entity
        ORDER BY c.sort, c.at;
END $$;

-- The entities whose leases are extended. Durable, as the lease. An expired one is not extended: its worker stopped.
CREATE FUNCTION renew_v1(h_entity uuid[], h_worker text[], h_duration bigint, given bigint) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE now bigint;
BEGIN
    PERFORM durably();
    PERFORM FROM sync_leases l WHERE l.entity = ANY (h_entity) ORDER BY l.entity FOR UPDATE;
    now := clock_or(given);
    RETURN QUERY UPDATE sync_leases l SET until = now + h_duration
        FROM unnest(h_entity, h_worker) AS h(entity, worker)
        WHERE l.entity = h.entity AND l.worker = h.worker AND l.until > now RETURNING l.entity::text;
END $$;

-- Ends leases. Observations are kept first, so that the next holder sees them.
CREATE FUNCTION release_v1(
    o_entity uuid[], o_confirmation bigint[], r_entity uuid[], r_worker text[], r_snooze bigint[], r_seen text[],
    r_drift_due bigint[]
) RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
BEGIN
    PERFORM lazily();
    INSERT INTO sync_observed AS o (entity, confirmation)
        SELECT e, max(c) FROM unnest(o_entity, o_confirmation) AS n(e, c) GROUP BY e ORDER BY e
        ON CONFLICT (entity) DO UPDATE SET confirmation = greatest(o.confirmation, excluded.confirmation);
    PERFORM FROM sync_leases l WHERE l.entity = ANY (r_entity) ORDER BY l.entity FOR UPDATE;
    UPDATE sync_leases l SET worker = NULL, until = 0, snooze = r.snooze, seen = r.seen,
            drift_due = coalesce(r.drift_due, l.drift_due)
        FROM unnest(r_entity, r_worker, r_snooze, r_seen, r_drift_due) AS r(entity, worker, snooze, seen, drift_due)
        WHERE l.entity = r.entity AND l.worker = r.worker;
END $$;

CREATE FUNCTION observed_since_v1(o_backend text, o_current bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
BEGIN
    PERFORM lazily();
    INSERT INTO sync_observed_since (backend, confirmation) VALUES (o_backend, o_current) ON CONFLICT DO NOTHING;
    RETURN (SELECT s.confirmation FROM sync_observed_since s WHERE s.backend = o_backend);
END $$;

CREATE FUNCTION void_snoozes_v1(v_backend text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
BEGIN
    PERFORM lock_backend(v_backend);
    PERFORM lazily();
    UPDATE sync_leases SET snooze = 0 WHERE backend = v_backend AND snooze <> 0;
END $$;

CREATE FUNCTION forget_late_timers_v1(f_backend text, latest bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE done bigint;
BEGIN
    PERFORM lock_backend(f_backend);
    PERFORM lazily();
    UPDATE sync_leases SET drift_due = NULL WHERE backend = f_backend AND drift_due > latest;
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END $$;

-- Timers for idle entities without one, spread by the last digits of their ids, which are random. Deletes the rows of
-- entities that are gone.
CREATE FUNCTION seed_timers_v1(s_backend text, spread bigint, steady bigint, given bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE seeded bigint; gone uuid[];
BEGIN
    PERFORM lock_backend(s_backend);
    PERFORM lazily();
    INSERT INTO sync_leases AS l (entity, backend, drift_due)
        SELECT q.entity, s_backend,
            steady + div(spread::numeric * ('x' || right(q.entity::text, 4))::bit(16)::int, 65535)::bigint
        FROM sync_queue q LEFT JOIN sync_leases t ON t.entity = q.entity
        WHERE q.backend = s_backend AND q.due IS NULL AND t.drift_due IS NULL ORDER BY q.entity
        ON CONFLICT (entity) DO UPDATE SET drift_due = excluded.drift_due WHERE l.drift_due IS NULL;
    GET DIAGNOSTICS seeded = ROW_COUNT;
    WITH deleted AS (
        DELETE FROM sync_leases l WHERE l.backend = s_backend AND l.until <= clock_or(given)
            AND NOT EXISTS (SELECT FROM sync_queue q WHERE q.entity = l.entity) RETURNING l.entity
    ) SELECT array_agg(d.entity) INTO gone FROM deleted d;
    DELETE FROM sync_observed o WHERE o.entity = ANY (gone);
    RETURN seeded;
END $$;

-- Registers or renews a member, and returns those that live in the order in which they came.
CREATE FUNCTION beat_v1(
    m_id uuid, m_name text, m_role text, m_version text, m_knows bigint, m_seen text, m_backends text, lasts bigint,
    given bigint
) RETURNS TABLE (
    o_id uuid, o_name text, o_role text, o_version text, o_knows bigint, o_seen text, o_backends text
) LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE now bigint := clock_or(given);
BEGIN
    PERFORM lazily();
    -- Those that another member changes at this moment are left to it.
    DELETE FROM members WHERE id IN (SELECT m.id FROM members m WHERE m.until <= now FOR UPDATE SKIP LOCKED);
    UPDATE members SET name = m_name, role = m_role, version = m_version, knows = m_knows, seen = m_seen,
        backends = m_backends, until = now + lasts WHERE id = m_id;
    IF NOT FOUND THEN
        INSERT INTO members (id, name, role, version, knows, seen, backends, until)
            VALUES (m_id, m_name, m_role, m_version, m_knows, m_seen, m_backends, now + lasts);
    END IF;
    RETURN QUERY SELECT m.id, m.name, m.role, m.version, m.knows, m.seen, m.backends
        FROM members m WHERE m.until > now ORDER BY m.came;
END $$;

-- Whether the member has the duty now. Not durable: a duty keeps members from doing work twice, and no more.
CREATE FUNCTION hold_v1(d_name text, d_member uuid, lasts bigint, given bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
DECLARE now bigint := clock_or(given);
BEGIN
    PERFORM lazily();
    INSERT INTO duties AS d (name, member, until) VALUES (d_name, d_member, now + lasts)
        ON CONFLICT (name) DO UPDATE SET member = excluded.member, until = excluded.until
        WHERE d.member = excluded.member OR d.until <= now;
    RETURN FOUND;
END $$;

CREATE FUNCTION leave_v1(m_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
BEGIN
    PERFORM lazily();
    DELETE FROM duties WHERE member = m_id;
    DELETE FROM members WHERE id = m_id;
END $$;

-- Makes the rebuilt tables of a read model the live ones if they have caught up.
CREATE FUNCTION swap_v1(s_live text, s_rebuilt text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
BEGIN
    PERFORM FROM checkpoints WHERE name IN (s_live, s_rebuilt) ORDER BY name FOR UPDATE;
    UPDATE checkpoints l SET position = r.position, tables = r.tables, changes = l.changes + 1
        FROM checkpoints r WHERE l.name = s_live AND r.name = s_rebuilt AND r.position >= l.position;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM lazily();
    DELETE FROM checkpoints WHERE name = s_rebuilt;
    DELETE FROM quarantine WHERE model = s_live;
    UPDATE quarantine SET model = s_live WHERE model = s_rebuilt;
    RETURN true;
END $$;
