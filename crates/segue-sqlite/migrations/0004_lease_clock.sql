-- `lease_until_ms` counts from the machine's boot `lease_boot`: a clock that all processes share and nobody can set. What an
-- earlier schema wrote there was wall time, and counts as ended.
ALTER TABLE engines ADD COLUMN lease_boot TEXT NOT NULL DEFAULT '';
