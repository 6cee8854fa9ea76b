"""From when to when alerts fired, as several witnesses tell it: pure bookkeeping."""
