-- What a process reports with its heartbeat, on which all decide together; and duties that end with their work.
SET LOCAL search_path = stateward_views;

-- `report`: JSON, members with defaults. `revision`: of the description; one that arrives later with a lower one changes
-- nothing. Neither is in any index.
ALTER TABLE members
    ADD COLUMN revision bigint NOT NULL DEFAULT 0,
    ADD COLUMN report   text NOT NULL DEFAULT '{}';

-- As beat_v3.
CREATE FUNCTION beat_v4(
    m_id uuid, m_name text, m_role text, m_version text, m_knows bigint, m_seen text, m_backends text,
    m_observe_only boolean, lasts bigint, given bigint, expected bigint, m_revision bigint, m_report text
) RETURNS TABLE (
    o_id uuid, o_name text, o_role text, o_version text, o_knows bigint, o_seen text, o_backends text,
    o_observe_only boolean, o_revision bigint, o_report text
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
        backends = m_backends, observe_only = m_observe_only, revision = m_revision, report = m_report,
        until = now + lasts WHERE id = m_id AND revision <= m_revision;
    IF NOT FOUND THEN
        INSERT INTO members AS m
            (id, name, role, version, knows, seen, backends, observe_only, revision, report, until)
            VALUES (m_id, m_name, m_role, m_version, m_knows, m_seen, m_backends, m_observe_only, m_revision,
                m_report, now + lasts)
            ON CONFLICT (id) DO UPDATE SET until = excluded.until;
    END IF;
    RETURN QUERY SELECT m.id, m.name, m.role, m.version, m.knows, m.seen, m.backends, m.observe_only, m.revision,
        m.report
        FROM members m WHERE NOT lease_ended(m.until, lasts, now, clock.careful_until, clock.low)
        ORDER BY m.came;
END $$;

-- The member has the duty no more. Not durable: it ends by itself, too.
CREATE FUNCTION give_back_v1(d_name text, d_member uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = stateward_views, pg_temp AS $$
BEGIN
    PERFORM lazily();
    DELETE FROM duties d WHERE d.name = d_name AND d.member = d_member;
END $$;
