# For one command: the locks are given back when it ends, however it does. Not had within five minutes, it is not run, and
# this script ends with 75.
exec unknot lock ledger printer --within 5m -- sh work.sh
