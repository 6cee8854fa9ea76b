-- Whatever others have built on these tables keeps them: then nothing is dropped, and the error names it.
DROP TABLE plimsoll.progress;
DROP TABLE plimsoll.alert;
DROP TABLE plimsoll.subject;
