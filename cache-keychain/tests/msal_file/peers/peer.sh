#!/bin/sh
# A program that locks by flock(1); driven line by line. Argument: the cache file. The lock file stays, as it does with flock(1).
echo ready
while read -r command; do
    case $command in
    lock) exec 9>>"$1.lockfile" && flock 9 && echo done ;;
    unlock) flock -u 9 && exec 9>&- && echo done ;;
    *) echo "failed $command" ;;
    esac
done
