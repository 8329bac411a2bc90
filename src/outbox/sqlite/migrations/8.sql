-- The number of the queue of due lanes: 0 if the most urgent entry of the lane is live, otherwise 1; 2 more while the last
-- request of the lane failed, because failing lanes take only a share of each claim.
UPDATE lane SET low = low + 2 WHERE failures > 0;
