//! Schema of `spec`.

use super::rule;
use super::schema::Schema;
use super::secret::{self, LABEL, LONGEST_NAME};
use super::snapshot;

/// What the user wants.
pub(super) fn schema() -> Schema {
    Schema::object(
        "The node that the user wants. Precisely one mode must be set: fullNode, archive, replayer, \
         validator or seed.",
        [
            (
                "chainId",
                Schema::text("The id of the chain that the node joins, for example `pacific-1`.")
                    .min_length(1)
                    .pattern(LABEL),
            ),
            ("image", Schema::text("The image of the node software.").min_length(1).max_length(512)),
            (
                "paused",
                Schema::flag("The wish to stop the node: its pod goes, its volume stays, and no plan runs."),
            ),
            (
                "externalAddress",
                Schema::text(
                    "The address that other nodes reach this one at, `host:port`; announced to \
                              peers.",
                ),
            ),
            (
                "overrides",
                Schema::words(
                    "The settings that win over whatever the operator computes, keyed by dotted \
                               names.",
                ),
            ),
            (
                "podLabels",
                Schema::words(
                    "The labels to put on the pod and on every object of the node; system labels \
                               win.",
                ),
            ),
            ("peers", Schema::list("The sources of peers, in order.", peer())),
            ("sidecar", sidecar()),
            ("dataVolume", data_volume()),
            ("fullNode", full_node()),
            ("archive", archive()),
            ("replayer", replayer()),
            ("validator", validator()),
            ("seed", seed()),
        ],
    )
    .required(["chainId", "image"])
    .checked(
        rule::ONE_MODE,
        "spec must set precisely one mode; keep one of fullNode, archive, replayer, validator, seed and omit \
         the rest",
    )
    .checked(
        rule::REPLAYER_HAS_PEERS,
        "replayer is set but peers is missing or empty; add at least one entry to spec.peers",
    )
}

fn peer() -> Schema {
    Schema::object(
        "One source of peers: EC2 instances, other SeiNodes or fixed addresses.",
        [
            ("ec2Tags", ec2_tags()),
            (
                "label",
                Schema::object(
                    "The choice of other SeiNodes, found by their labels.",
                    [
                        (
                            "selector",
                            Schema::words("The labels that a SeiNode must carry to be a peer.")
                                .min_entries(1),
                        ),
                        ("namespace", Schema::text("The namespace to look in; the node's own if absent.")),
                    ],
                )
                .required(["selector"]),
            ),
            (
                "static",
                Schema::object(
                    "The choice of fixed addresses.",
                    [(
                        "addresses",
                        Schema::lines("The addresses of peers, `nodeId@host:port`, taken as they stand.")
                            .min_items(1),
                    )],
                )
                .required(["addresses"]),
            ),
        ],
    )
    .checked(
        rule::ONE_PEER_SOURCE,
        "a peer must have precisely one of ec2Tags, static, label; split it into one list item per source",
    )
}

fn ec2_tags() -> Schema {
    Schema::object(
        "The choice of EC2 instances, found by their tags.",
        [
            ("region", Schema::text("The AWS region to look in.").min_length(1)),
            ("tags", Schema::words("The tags that an instance must carry to be a peer.").min_entries(1)),
        ],
    )
    .required(["region", "tags"])
}

fn sidecar() -> Schema {
    Schema::object(
        "The settings of the sidecar that prepares and watches the node software.",
        [
            ("image", Schema::text("The image of the sidecar; the platform's if absent or empty.")),
            (
                "port",
                Schema::int32("The port that the sidecar listens on inside the pod; 0 means the default.")
                    .default(7777),
            ),
            ("resources", resources()),
        ],
    )
}

fn resources() -> Schema {
    let claim = Schema::object(
        "The name of one resource claim of the pod.",
        [
            ("name", Schema::text("The name of the claim, as the pod has it.")),
            ("request", Schema::text("The request inside the claim; all of them if absent.")),
        ],
    )
    .required(["name"]);
    Schema::object(
        "The resources of the sidecar container, as in any container.",
        [
            ("claims", Schema::list("The resource claims that the container uses.", claim).keyed_by("name")),
            ("limits", Schema::map("The most that the container may use.", Schema::quantity())),
            ("requests", Schema::map("The least that the container is given.", Schema::quantity())),
        ],
    )
}

fn data_volume() -> Schema {
    let import = Schema::object(
        "The existing claim to use instead of creating one; the operator never deletes it.",
        [(
            "pvcName",
            Schema::text("The name of the claim, in the node's namespace.")
                .min_length(1)
                .max_length(LONGEST_NAME)
                .pattern(LABEL)
                .checked(
                    rule::UNCHANGED,
                    "dataVolume.import.pvcName cannot change; make a new node for another claim",
                ),
        )],
    )
    .required(["pvcName"]);
    Schema::object("The settings of the data volume.", [("import", import)])
        .checked(rule::IMPORT_STAYS, "dataVolume.import cannot be dropped; keep import with the same pvcName")
}

fn full_node() -> Schema {
    Schema::object(
        "The mode of a full node: it serves RPC and prunes old state.",
        [
            ("snapshot", snapshot::source("The source of the first state; genesis if absent.")),
            ("snapshotGeneration", snapshot::generation()),
        ],
    )
}

fn archive() -> Schema {
    Schema::object(
        "The mode of an archive: it keeps every state, from genesis on.",
        [("snapshotGeneration", snapshot::generation())],
    )
}

fn replayer() -> Schema {
    let shadow = Schema::object(
        "The comparison with a node that is taken to be right.",
        [(
            "canonicalRpc",
            Schema::text("The RPC address of the node whose results are taken to be right.").min_length(1),
        )],
    )
    .required(["canonicalRpc"]);
    Schema::object(
        "The mode of a replayer: it runs old blocks again and exports the results.",
        [
            ("snapshot", snapshot::source("The source of the first state; only `s3` is supported here.")),
            (
                "resultExport",
                Schema::object(
                    "The export of block results; omit it to export none.",
                    [("shadowResult", shadow)],
                ),
            ),
        ],
    )
    .required(["snapshot"])
}

fn validator() -> Schema {
    Schema::object(
        "The mode of a validator: it signs blocks.",
        [
            ("snapshot", snapshot::source("The source of the first state; genesis if absent.")),
            (
                "signingKey",
                secret::key_source("validator.signingKey", "consensus key", "priv_validator_key.json"),
            ),
            ("nodeKey", secret::key_source("validator.nodeKey", "P2P identity", "node_key.json")),
            ("operatorKeyring", secret::operator_keyring()),
            ("genesisCeremony", genesis_ceremony()),
        ],
    )
    .checked(rule::KEYS_TOGETHER, "signingKey and nodeKey belong together; set both or omit both")
    .checked(
        rule::KEYS_APART,
        "signingKey and nodeKey name the same Secret; put the node key into a Secret of its own",
    )
    .checked(
        rule::KEYRING_APART_FROM_SIGNING_KEY,
        "operatorKeyring and signingKey name the same Secret; put the keyring into a Secret of its own",
    )
    .checked(
        rule::KEYRING_APART_FROM_NODE_KEY,
        "operatorKeyring and nodeKey name the same Secret; put the keyring into a Secret of its own",
    )
    .checked(
        rule::PASSPHRASE_APART_FROM_KEYRING,
        "operatorKeyring needs a secret, and its passphraseSecretRef must name another Secret than the \
         keyring; put \
         the passphrase into a Secret of its own",
    )
    .checked(
        rule::PASSPHRASE_APART_FROM_SIGNING_KEY,
        "operatorKeyring.secret.passphraseSecretRef and signingKey name the same Secret; put the passphrase \
         into a \
         Secret of its own",
    )
    .checked(
        rule::PASSPHRASE_APART_FROM_NODE_KEY,
        "operatorKeyring.secret.passphraseSecretRef and nodeKey name the same Secret; put the passphrase \
         into a \
         Secret of its own",
    )
}

fn genesis_ceremony() -> Schema {
    Schema::object(
        "The validator's part in founding a new chain; it excludes signingKey, because the key is made on \
         the spot.",
        [
            ("chainId", Schema::text("The id of the new chain.").min_length(1)),
            (
                "stakingAmount",
                Schema::text("The coins that the validator bonds, as in `10000000usei`.").min_length(1),
            ),
            ("accountBalance", Schema::text("The coins that its account holds at genesis.").min_length(1)),
            ("index", Schema::int32("The place among the founding validators, from 0.").at_least(0)),
        ],
    )
    .required(["accountBalance", "chainId", "index", "stakingAmount"])
}

fn seed() -> Schema {
    Schema::object(
        "The mode of a seed: it hands out peer addresses.",
        [("nodeKey", secret::key_source("seed.nodeKey", "P2P identity", "node_key.json"))],
    )
    .required(["nodeKey"])
}
