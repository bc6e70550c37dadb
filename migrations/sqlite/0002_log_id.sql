-- The log's name for ever: checkpoints are of it, and copies keep it, while `epoch` is of one life of one database.
ALTER TABLE log ADD COLUMN log_id TEXT NOT NULL DEFAULT '';
-- A log that was there before gets one now; a new one when its row is made.
UPDATE log SET log_id =
    lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8'
          || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)));
