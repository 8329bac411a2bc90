-- Imprint's answer about the customer's id in `received`: 1 after Imprint applied an update under this spelling, and 2 after
-- Imprint found no customer, until the search for our id. Except for 1, `received` has the spelling of the newest event. A
-- lane with a delivered value proved its spelling before this column existed.
ALTER TABLE lane ADD COLUMN spelled INTEGER NOT NULL DEFAULT 0;
UPDATE lane SET spelled = 1 WHERE versions IS NOT NULL AND CAST(versions AS TEXT) NOT LIKE '{"delivered":[]%';
