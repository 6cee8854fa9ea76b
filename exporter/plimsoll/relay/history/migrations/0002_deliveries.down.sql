DROP TABLE plimsoll.delivery;
