"""The audit of a data set: likely wrong labels, copies, and clips whose sound is at fault."""
