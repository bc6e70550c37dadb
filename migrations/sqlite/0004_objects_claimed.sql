-- Whether the claims on objects, which older versions did not take, were derived from the events.
ALTER TABLE log ADD COLUMN objects_claimed INTEGER NOT NULL DEFAULT 0;
