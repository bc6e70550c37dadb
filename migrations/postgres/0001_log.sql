-- The log. Columns up to `metadata` are postgres-es' layout, so a cqrs-es program can read it; the rest is ours.
-- Rows are only ever added. Text that is compared is in byte order: no operating system's collation decides anything.
CREATE SCHEMA IF NOT EXISTS stateward;
SET LOCAL search_path = stateward;

-- One number for each batch of appends, drawn when all its locks are held: position = number * 1024 + place in the batch.
-- CACHE 1 for ever: a cached number would be below a marker that was set later.
CREATE SEQUENCE blocks AS bigint;
-- The last value of a fresh sequence is a number that is still to be drawn: one is drawn here, so that it never is.
SELECT nextval('blocks');

-- Says that positions above `blocks` are about to be written, until the transaction ends: readers stop before them.
-- 0x5357 keeps these advisory locks apart from those of other programs.
CREATE FUNCTION begin_block() RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path = stateward, pg_temp AS $$
DECLARE drawn bigint; block bigint;
BEGIN
    SELECT last_value INTO drawn FROM blocks;
    PERFORM pg_advisory_xact_lock_shared((x'5357'::bigint << 48) | drawn);
    block := nextval('blocks');
    IF block <= drawn THEN
        RAISE EXCEPTION 'sequence stateward.blocks: % was drawn after %', block, drawn;
    END IF;
    RETURN block;
END $$;

CREATE TABLE events (
    position       bigint PRIMARY KEY DEFAULT begin_block() * 1024,
    aggregate_type text COLLATE "C" NOT NULL,
    aggregate_id   text COLLATE "C" NOT NULL,
    sequence       bigint NOT NULL CHECK (sequence >= 1),
    event_type     text COLLATE "C" NOT NULL,
    event_version  text COLLATE "C" NOT NULL,
    payload        json NOT NULL,
    metadata       json NOT NULL,
    event_id       uuid NOT NULL DEFAULT gen_random_uuid(),
    recorded_at    bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    hash           bytea NOT NULL DEFAULT '\x',
    CONSTRAINT events_of_stream UNIQUE (aggregate_type, aggregate_id, sequence)
) WITH (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000);

-- The last event of each stream, by which appends exclude each other: a function of `events`. `before` is the version
-- that the last append expected.
CREATE TABLE streams (
    aggregate_type text COLLATE "C",
    aggregate_id   text COLLATE "C",
    version        bigint NOT NULL,
    before         bigint NOT NULL,
    hash           bytea NOT NULL,
    recorded_at    bigint NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- What the log keeps unique; a function of the events and their metadata. Sequence 0 is of a claim that is shared, and
-- never outlives its transaction.
CREATE TABLE claims (
    key            text COLLATE "C" PRIMARY KEY,
    aggregate_type text COLLATE "C" NOT NULL,
    aggregate_id   text COLLATE "C" NOT NULL,
    sequence       bigint NOT NULL,
    value          text NOT NULL,
    taken_at       bigint NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX claims_by_age ON claims (taken_at) WHERE starts_with(key, 'idempotency/');

-- One row: the log's name for ever, the epoch of this life of the database, and what tells this life from another.
-- `fenced`: the log was moved elsewhere and takes no append.
CREATE TABLE log (
    one               boolean PRIMARY KEY DEFAULT true CHECK (one),
    log_id            uuid NOT NULL,
    epoch             bigint NOT NULL CHECK (epoch BETWEEN 1 AND 4294967295),
    system_identifier text COLLATE "C" NOT NULL,
    database          oid NOT NULL,
    timeline          bigint NOT NULL,
    put_back          boolean NOT NULL DEFAULT false,
    fenced            boolean NOT NULL DEFAULT false
);

-- Every position below the result is decided, for as long as this primary lives: committed and visible, or not to be.
-- Never kept: what a rollback drew is not flushed, so after a crash or a failover the same number is drawn again. Only
-- positions of events that were read are kept.
CREATE FUNCTION horizon_v1() RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path = stateward, pg_temp AS $$
DECLARE drawn bigint; open bigint;
BEGIN
    IF pg_is_in_recovery() OR current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the log is read on the primary, in READ COMMITTED';
    END IF;
    -- First: a transaction that draws later is marked by then.
    SELECT last_value INTO drawn FROM blocks;
    SELECT min((classid::bigint << 32 | objid::bigint) & x'0000ffffffffffff'::bigint) INTO open FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = x'5357'::bigint
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    -- least() passes over NULL.
    RETURN (least(drawn, open) + 1) * 1024;
END $$;

-- A batch: streams, and claims, each in byte order; all of it or nothing. A claim of sequence 0 is shared: it must be
-- free or the stream's own, and is not taken. Raises SW001 (a stream is elsewhere) or SW002 (a claim is another's): the
-- caller then finds what does not fit, and sends the rest again. SW003: the log is fenced.
CREATE FUNCTION append_v1(
    s_type text[], s_id text[], s_before bigint[], s_version bigint[], s_hash bytea[], s_at bigint[],
    e_stream int[], e_sequence bigint[], e_type text[], e_version text[], e_payload text[], e_metadata text[],
    e_id uuid[], e_at bigint[], e_hash bytea[],
    t_key text[], t_stream int[], t_sequence bigint[], t_value text[], t_at bigint, f_key text[], f_stream int[]
) RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path = stateward, pg_temp AS $$
DECLARE done bigint; block bigint;
BEGIN
    INSERT INTO streams AS s (aggregate_type, aggregate_id, version, before, hash, recorded_at)
        SELECT t, i, v, b, h, r
        FROM unnest(s_type, s_id, s_version, s_before, s_hash, s_at) WITH ORDINALITY AS n(t, i, v, b, h, r, o)
        WHERE b = 0 OR EXISTS (SELECT FROM streams x WHERE x.aggregate_type = t AND x.aggregate_id = i) ORDER BY o
        ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET version = excluded.version, before = excluded.before,
            hash = excluded.hash, recorded_at = excluded.recorded_at WHERE s.version = excluded.before;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done <> cardinality(s_id) THEN
        RAISE EXCEPTION 'a stream is elsewhere' USING ERRCODE = 'SW001';
    END IF;
    IF cardinality(f_key) > 0 THEN
        PERFORM FROM claims WHERE key = ANY (f_key || t_key) ORDER BY key FOR UPDATE;
        DELETE FROM claims c USING unnest(f_key, f_stream) AS f(k, n)
            WHERE c.key = k AND c.aggregate_type = s_type[n] AND c.aggregate_id = s_id[n];
    END IF;
    IF cardinality(t_key) > 0 THEN
        INSERT INTO claims AS c (key, aggregate_type, aggregate_id, sequence, value, taken_at)
            SELECT k, s_type[n], s_id[n], q, v, t_at
            FROM unnest(t_key, t_stream, t_sequence, t_value) WITH ORDINALITY AS t(k, n, q, v, o) ORDER BY o
            ON CONFLICT (key) DO UPDATE SET
                sequence = CASE excluded.sequence WHEN 0 THEN c.sequence ELSE excluded.sequence END,
                value = CASE excluded.sequence WHEN 0 THEN c.value ELSE excluded.value END,
                taken_at = CASE excluded.sequence WHEN 0 THEN c.taken_at ELSE excluded.taken_at END
            WHERE c.aggregate_type = excluded.aggregate_type AND c.aggregate_id = excluded.aggregate_id;
        GET DIAGNOSTICS done = ROW_COUNT;
        IF done <> cardinality(t_key) THEN
            RAISE EXCEPTION 'a claim is taken' USING ERRCODE = 'SW002';
        END IF;
        IF 0 = ANY (t_sequence) THEN
            -- Until here it kept others from taking the claim; they wait for the end of this transaction.
            DELETE FROM claims WHERE key = ANY (t_key) AND sequence = 0;
        END IF;
    END IF;
    -- After every lock: an append that waited comes behind the one that it waited for.
    block := begin_block();
    -- After the marker: a fence that is set now waits until no marker is left.
    IF (SELECT fenced FROM log) THEN
        RAISE EXCEPTION 'the log is fenced' USING ERRCODE = 'SW003';
    END IF;
    -- Whatever the role or the database is set to.
    PERFORM set_config('synchronous_commit', 'on', true)
        WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
    INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
            event_id, recorded_at, hash)
        SELECT block * 1024 + o - 1, s_type[n], s_id[n], q, t, v, p::json, m::json, id, r, h
        FROM unnest(e_stream, e_sequence, e_type, e_version, e_payload, e_metadata, e_id, e_at, e_hash)
            WITH ORDINALITY AS e(n, q, t, v, p, m, id, r, h, o);
    RETURN block;
END $$;
