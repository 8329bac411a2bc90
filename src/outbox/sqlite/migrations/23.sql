-- The kinds 6 and 7 of a lane are tombstones of customers to whom nothing has happened for a long time: `customer` is a keyed
-- digest, and `versions` are the versions of the lane. A program that does not know this must leave the store alone: it would
-- deliver values that are older than the delivered values.
DELETE FROM meta WHERE name = 'retirements';
