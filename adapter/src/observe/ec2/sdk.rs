//! EC2 through the AWS SDK: one question per region and tags, remembered for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{DisplayErrorContext, SdkError};
use aws_sdk_ec2::operation::describe_instances::DescribeInstancesError;
use aws_sdk_ec2::types::{Filter, Instance, Reservation};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use futures::future::join_all;
use seinode_core::Ec2Instance;
use seinode_core::api::SeiNode;
use seinode_core::api::node::Ec2Tags;
use seinode_core::world::{Blind, Seen};
use tokio::time::Instant;
use tracing::warn;

/// Time limit of one question, all its pages and the credentials included.
const LIMIT: Duration = Duration::from_secs(10);
/// How many instances a page has at most: EC2 throttles requests without a limit first.
const PAGE: i32 = 1000;
/// How long an answer counts. A failure counts shorter.
const GOOD_FOR: Duration = Duration::from_mins(1);
const FAILURE_FOR: Duration = Duration::from_secs(10);

type Question = (String, BTreeMap<String, String>);
type Answer = Seen<Vec<Ec2Instance>>;
/// The last answer to a question, and when it came. Who asks holds it, so that others wait for the same answer.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Answer)>>>;

/// EC2.
#[derive(Default)]
pub(crate) struct Ec2 {
    clients: Mutex<HashMap<String, Client>>,
    answers: Mutex<HashMap<Question, Slot>>,
    /// What tests use in place of the configuration of the environment.
    config: Option<SdkConfig>,
}

impl Ec2 {
    /// EC2 as this configuration reaches it.
    #[cfg(test)]
    pub(super) fn by(config: SdkConfig) -> Self {
        Self { config: Some(config), ..Self::default() }
    }

    /// What EC2 tells of each source of a node that names tags, in their order. All are asked at once.
    pub(crate) async fn ask(&self, node: &SeiNode) -> Vec<Answer> {
        let sources = node.spec.peers.iter().flatten().filter_map(|source| source.ec2_tags.as_ref());
        join_all(sources.map(|source| self.answer(source))).await
    }

    async fn answer(&self, source: &Ec2Tags) -> Answer {
        let slot = self.slot(source);
        let mut slot = slot.lock().await;
        if let Some((at, answer)) = &*slot
            && is_good(*at, answer)
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(LIMIT, self.instances(source)).await {
            Ok(Ok(instances)) => Seen::Present(instances),
            Ok(Err(error)) => {
                warn!(region = source.region, error = %DisplayErrorContext(&error), "EC2 was asked in vain");
                Seen::Unknown(Blind::Unreachable(class(&error)))
            }
            Err(_) => Seen::Unknown(Blind::Unreachable(format!("no answer within {} s", LIMIT.as_secs()))),
        };
        *slot = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Where the answer for a source is; answers that count no more and that nobody waits for are forgotten.
    fn slot(&self, source: &Ec2Tags) -> Slot {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = |slot: &Slot| {
            slot.try_lock().is_ok_and(|slot| slot.as_ref().is_some_and(|(at, answer)| is_good(*at, answer)))
        };
        answers.retain(|_, slot| Arc::strong_count(slot) > 1 || counts(slot));
        Arc::clone(answers.entry((source.region.clone(), source.tags.clone())).or_default())
    }

    /// Every running instance with the tags.
    async fn instances(
        &self,
        source: &Ec2Tags,
    ) -> Result<Vec<Ec2Instance>, SdkError<DescribeInstancesError>> {
        let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
        let tags = source.tags.iter().map(|(key, value)| filter(&format!("tag:{key}"), value));
        let filters = [filter("instance-state-name", "running")].into_iter().chain(tags).collect();
        let client = self.client(&source.region).await;
        let mut pages =
            client.describe_instances().set_filters(Some(filters)).max_results(PAGE).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page?;
            found.extend(page.reservations().iter().flat_map(Reservation::instances).map(read));
        }
        Ok(found)
    }

    async fn client(&self, region: &str) -> Client {
        if let Some(client) = self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(region) {
            return client.clone();
        }
        let config = match &self.config {
            Some(config) => config.clone(),
            None => aws_config::defaults(BehaviorVersion::latest()).http_client(https()).load().await,
        };
        // The region comes from the spec, never from the environment (`platform-config.md` 2).
        let config = config.into_builder().region(Region::new(region.to_owned())).build();
        let client = Client::new(&config);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(region.to_owned()).or_insert(client).clone()
    }
}

/// Whether an answer of that time still counts.
fn is_good(at: Instant, answer: &Answer) -> bool {
    at.elapsed() < if answer.present().is_some() { GOOD_FOR } else { FAILURE_FOR }
}

/// HTTPS by the TLS library that the rest of the program uses.
pub(super) fn https() -> aws_sdk_ec2::config::SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

fn read(instance: &Instance) -> Ec2Instance {
    let text = |field: Option<&str>| field.unwrap_or_default().to_owned();
    let tags = instance.tags().iter().filter_map(|tag| Some((tag.key()?.to_owned(), text(tag.value()))));
    Ec2Instance {
        tags: tags.collect(),
        hosts: [
            text(instance.public_dns_name()),
            text(instance.public_ip_address()),
            text(instance.private_dns_name()),
            text(instance.private_ip_address()),
        ],
    }
}

/// What went wrong, in words that stay the same as long as it does and hold no secret.
fn class(error: &SdkError<DescribeInstancesError>) -> String {
    use aws_sdk_ec2::error::ProvideErrorMetadata;
    match error {
        SdkError::ServiceError(answer) => {
            format!("EC2 answered {}", answer.err().code().unwrap_or("an error without a code"))
        }
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "no answer in time".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_io() => "no connection".to_owned(),
        SdkError::DispatchFailure(_) => {
            "the request could not be sent: see the log about credentials".to_owned()
        }
        SdkError::ConstructionFailure(_) => "the request could not be made".to_owned(),
        _ => "the answer can't be read".to_owned(),
    }
}
