//! A distributed object store of three nodes: the contract, and work that goes on while one of them is dead. Not run by
//! default: `tests/engines/garage.sh install`, then `cargo test --test garage -- --ignored`.

#[path = "common/contract.rs"]
mod contract;
#[path = "common/engine.rs"]
mod engine;

use engine::Engine;

#[test]
#[ignore = "needs Garage: tests/engines/garage.sh install"]
fn three_nodes_of_which_one_may_die() {
    let mut engine = Engine::start("garage");
    // The node that is spoken to stays.
    engine.settings.insert("AWS_ENDPOINT_URL".into(), "http://127.0.0.11:3900".into());
    contract::lenient(&engine.store("backup", "contract", None), "Garage");
    engine::goes_on_without_one(&engine, "s3://backup/work", "", 3);
}
