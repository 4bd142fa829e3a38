#!/usr/bin/env bash
# Gives two accounts at the brokers of a stream exactly the rights that keyferry needs: one for capture, one for the
# applies of a destination. docs/kafka-accounts.md says what each right is for.
#
#   BOOTSTRAP=kafka-1.example:9093 deploy/kafka-acls.sh capture USER STREAM
#   BOOTSTRAP=kafka-1.example:9093 deploy/kafka-acls.sh apply   USER STREAM DESTINATION-NAME
#
#   BOOTSTRAP       brokers, separated by commas
#   ADMIN_CONFIG    properties file of an account that may give rights (--command-config)
#   PREFIX          kafka.topic_prefix, if it is not keyferry
#   CREATE=no       capture may not make the topics: an administrator does (keyferry topics create)
#   KAFKA_ACLS      Kafka's tool, if it is not kafka-acls.sh in the PATH
#   DRY_RUN=yes     print the commands and do nothing
#
# What was given before stays: to take rights away, use the tool with --remove.
set -euo pipefail

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

role=${1:-} user=${2:-} stream=${3:-} destination=${4:-}
case $role in
    capture) (($# == 3)) || usage ;;
    apply) (($# == 4)) || usage ;;
    *) usage ;;
esac
[[ -n $user && -n $stream ]] || usage
[[ $role == capture || -n $destination ]] || usage

topic=${PREFIX:-keyferry}.$stream
acls=("${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "${BOOTSTRAP:?is not set: brokers, as host:port}")
[[ -z ${ADMIN_CONFIG:-} ]] || acls+=(--command-config "$ADMIN_CONFIG")

# allow OPERATIONS WHAT...: literal names, so that a stream shop2 is none of its business.
allow() {
    local operations=() operation
    for operation in $1; do
        operations+=(--operation "$operation")
    done
    local command=("${acls[@]}" --add --allow-principal "User:$user" "${operations[@]}"
        --resource-pattern-type literal "${@:2}")
    if [[ ${DRY_RUN:-no} == yes ]]; then
        printf '%q ' "${command[@]}"
        echo
    else
        "${command[@]}"
    fi
}

topics=(--topic "$topic" --topic "$topic.meta")
case $role in
    capture)
        allow "Read Write Describe DescribeConfigs" "${topics[@]}"
        allow "Read Describe" --topic "$topic.requests"
        # For the applies, which need not make any.
        allow Describe --topic "$topic.dead"
        [[ ${CREATE:-yes} == no ]] || allow Create "${topics[@]}" --topic "$topic.requests" --topic "$topic.dead"
        ;;
    apply)
        allow "Read Describe DescribeConfigs" "${topics[@]}"
        allow "Write Describe" --topic "$topic.requests"
        allow "Read Write Describe DescribeConfigs" --topic "$topic.dead"
        allow "Read Describe" --group "$topic.$destination"
        ;;
esac
