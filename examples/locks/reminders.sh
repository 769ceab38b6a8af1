# The same without a command: the locks are held until they are given back, or until this task ends.
#
# One by one they would be asked for in the order opposite to that of invoices.sh, and each script could hold what the
# other one waits for. Unknot would find that in the moment in which it came to be, and try one of the two again
# (`unknot deadlocks`); asked for at once, it cannot come to be.
set -e
unknot lock printer ledger
sh work.sh
unknot unlock printer ledger
