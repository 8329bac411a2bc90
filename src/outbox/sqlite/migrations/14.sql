-- The time of the first of the answers, in a row, whose cause no evidence has shown yet.
ALTER TABLE lane ADD COLUMN unproven_since INTEGER;
-- The last of these answers, if it says that the customer does not exist.
ALTER TABLE lane ADD COLUMN absence BLOB;
-- Dispatch makes these lanes due when evidence arrives.
CREATE INDEX lane_absent ON lane (id) WHERE absence IS NOT NULL;
-- An answer that a customer is gone does not outlast the API key of the answer.
CREATE INDEX lane_gone ON lane (id) WHERE spelled = 2;
