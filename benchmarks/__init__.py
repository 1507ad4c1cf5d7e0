"""Speed of the parts that users wait for, beside what the machine or another library does with the same work."""
