-- As settle_in, but takes no snapshot: in an explicit transaction, SET TRANSACTION may still follow.
SET LOCAL {name} = {value};
