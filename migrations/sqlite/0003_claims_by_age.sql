-- Only idempotency claims are forgotten by age; the others need not be kept in that order.
DROP INDEX claims_by_age;
CREATE INDEX claims_by_age ON claims (taken_at) WHERE key GLOB 'idempotency/*';
