//! Every case of the contract's `validation/` on the real API server with our CustomResourceDefinition.

use seinode_tests::live::LiveError;
use seinode_tests::stage::Stage;
use seinode_tests::validation_cases;

pub(crate) async fn every_case_of_the_contract_holds(stage: &Stage) -> Result<(), LiveError> {
    let space = "admission";
    stage.namespace(space).await?;
    let client = stage.plane.client();
    let mut wrong = Vec::new();
    let cases = validation_cases::load();
    for case in &cases {
        if let Err(text) = validation_cases::replay(&client, space, case).await {
            wrong.push(format!("{}: {text}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("  {} cases", cases.len());
    Ok(())
}
