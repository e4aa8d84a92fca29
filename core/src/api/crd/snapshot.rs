//! Schemas of where the first state comes from, and of the snapshots a node makes itself.

use super::rule;
use super::schema::Schema;

/// Where the first state comes from.
pub(super) fn source(description: &str) -> Schema {
    Schema::object(
        description,
        [
            ("s3", s3()),
            (
                "stateSync",
                Schema::marker(
                    "The choice of state sync: the state comes from peers, checked by \
                                light-client witnesses.",
                ),
            ),
            (
                "bootstrapImage",
                Schema::text(
                    "The image of a one-shot Job that runs the node up to `s3.targetHeight` before the real \
                     one starts. \
                     It needs `s3`; without it no Job runs.",
                ),
            ),
            (
                "trustPeriod",
                Schema::text("The time for which a light client trusts a header, as in `168h0m0s`."),
            ),
            (
                "backfillBlocks",
                Schema::int64("The number of blocks to fetch backwards once the state is there."),
            ),
            ("rpcServers", witnesses()),
        ],
    )
    .checked(
        rule::ONE_SNAPSHOT_SOURCE,
        "snapshot must have precisely one of s3 and stateSync; set one and omit the other",
    )
}

fn s3() -> Schema {
    Schema::object(
        "The choice of a snapshot archive from the platform's bucket.",
        [(
            "targetHeight",
            Schema::int64(
                "The greatest height to restore: the newest archive that is not above it is taken.",
            )
            .at_least(1),
        )],
    )
    .required(["targetHeight"])
}

fn witnesses() -> Schema {
    let witness = Schema::text("The RPC address of one witness, `host:port` without a scheme.")
        .pattern("^[^\\s:/,]+:[0-9]{1,5}$");
    Schema::list(
        "The RPC addresses of the light-client witnesses, used instead of the platform's. A light client \
         compares \
         two, so give at least that many.",
        witness,
    )
    .min_items(2)
    .without_duplicates()
}

/// Snapshots the node makes itself.
pub(super) fn generation() -> Schema {
    let tendermint = Schema::object(
        "The settings of Tendermint state-sync snapshots, made every 2000 blocks.",
        [
            (
                "keepRecent",
                Schema::int32(
                    "The number of snapshots to keep on the volume; with `publish` at least \
                               2.",
                )
                .at_least(1),
            ),
            (
                "publish",
                Schema::marker(
                    "The wish to have finished snapshots uploaded by the platform's uploader; the \
                                second-newest is taken.",
                ),
            ),
        ],
    )
    .required(["keepRecent"]);
    Schema::object(
        "The snapshots that the node makes itself; omit it to make none.",
        [("tendermint", tendermint)],
    )
}
