"""The paper's tables and comparisons, trained anew: `xnornet reproduce table1 --data FOLDER`.

`comparisons` says what is compared, `training` makes the runs and their rows, `report` the table and the curves;
`table` does one after the other.
"""
