#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use seinode_core::api::SeiNode;
use serde_json::json;
use tokio::net::TcpListener;

use super::sdk::{Ec2, https};

/// What the pretend EC2 was asked.
type Asked = Arc<Mutex<Vec<String>>>;

/// A pretend EC2 that answers by what it is asked, and EC2 as the operator asks it.
async fn pretend(answer: fn(&str) -> (StatusCode, String)) -> (Ec2, Asked) {
    let (config, asked) = listening(answer).await;
    (Ec2::by(config), asked)
}

/// A pretend EC2, and the configuration that leads to it.
async fn listening(answer: fn(&str) -> (StatusCode, String)) -> (SdkConfig, Asked) {
    let asked = Asked::default();
    let notes = Arc::clone(&asked);
    let handle = move |body: String| {
        notes.lock().unwrap().push(body.clone());
        async move {
            if body.contains("hang") {
                std::future::pending::<()>().await;
            }
            answer(&body)
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Router::new().route("/", post(handle));
    tokio::spawn(async move { axum::serve(listener, server).await });
    let credentials = Credentials::new("test", "test", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(format!("http://{address}"))
        .http_client(https())
        .build();
    (config, asked)
}

fn node(sources: &[(&str, &str)]) -> SeiNode {
    let sources =
        sources.iter().map(|(region, role)| json!({"ec2Tags": {"region": region, "tags": {"role": role}}}));
    serde_json::from_value(json!({
        "metadata": {"name": "me", "namespace": "ns"},
        "spec": {"chainId": "c", "image": "i", "peers": sources.collect::<Vec<_>>()},
    }))
    .unwrap()
}

fn page(host: &str, next: &str) -> (StatusCode, String) {
    let text = format!(
        "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
         <reservationSet><item><instancesSet><item><instanceId>i-{host}</instanceId><dnsName>{host}</dnsName>\
         <privateIpAddress>10.0.0.1</privateIpAddress><tagSet><item><key>sei.io/node-id</key>\
         <value>0123456789abcdef0123456789abcdef01234567</value></item></tagSet></item></instancesSet></item>\
         </reservationSet>{next}</DescribeInstancesResponse>"
    );
    (StatusCode::OK, text)
}

fn answers(body: &str) -> (StatusCode, String) {
    if body.contains("denied") {
        let text = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>secret words</Message></Error>\
                    </Errors><RequestID>r</RequestID></Response>";
        return (StatusCode::FORBIDDEN, text.to_owned());
    }
    if body.contains("NextToken=more") {
        return page("second.example.net", "");
    }
    page("first.example.net", "<nextToken>more</nextToken>")
}

#[tokio::test]
async fn every_page_is_read_and_an_answer_is_remembered() {
    let (ec2, asked) = pretend(answers).await;
    let node = node(&[("eu-west-1", "rpc")]);
    let told = ec2.ask(&node).await;
    let peers: Vec<_> =
        told[0].present().unwrap().iter().filter_map(seinode_core::Ec2Instance::peer).collect();
    let id = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(peers, [format!("{id}@first.example.net:26656"), format!("{id}@second.example.net:26656")]);
    let first = asked.lock().unwrap()[0].clone();
    for part in [
        "Action=DescribeInstances",
        "MaxResults=1000",
        "Filter.1.Name=instance-state-name&Filter.1.Value.1=running",
        "Filter.2.Name=tag%3Arole&Filter.2.Value.1=rpc",
    ] {
        assert!(first.contains(part), "{part} in {first}");
    }
    assert_eq!(ec2.ask(&node).await, told);
    assert_eq!(asked.lock().unwrap().len(), 2, "two pages, once");
}

#[tokio::test]
async fn what_goes_wrong_is_told_by_its_class_and_alone() {
    let (ec2, asked) = pretend(answers).await;
    let node = node(&[("eu-west-1", "denied"), ("eu-west-2", "rpc")]);
    let told = ec2.ask(&node).await;
    assert_eq!(told[0].blind().unwrap().to_string(), "EC2 answered UnauthorizedOperation");
    assert!(told[1].present().is_some(), "the other source is told all the same: {told:?}");
    let before = asked.lock().unwrap().len();
    ec2.ask(&node).await;
    assert_eq!(asked.lock().unwrap().len(), before, "not asked again right away");
}

#[tokio::test]
async fn who_asks_at_once_waits_for_one_answer() {
    let (ec2, asked) = pretend(answers).await;
    let twice = node(&[("eu-west-1", "rpc"), ("eu-west-1", "rpc")]);
    let (one, other) = tokio::join!(ec2.ask(&twice), ec2.ask(&twice));
    assert_eq!(one, other);
    assert_eq!(one[0], one[1]);
    assert_eq!(asked.lock().unwrap().len(), 2, "two pages, once");
}

#[tokio::test]
async fn what_can_not_be_sent_is_told_and_not_sent() {
    let (config, asked) = listening(answers).await;
    let ec2 = Ec2::by(config.clone());
    let told = ec2.ask(&node(&[("eu-west-1.example.net/#", "rpc")])).await;
    assert_eq!(told[0].blind().unwrap().to_string(), "the request could not be made");
    let account = StaticConfiguration {
        web_identity_token_file: "/nowhere/token".into(),
        role_arn: "arn:aws:iam::123456789012:role/seinode".into(),
        session_name: "test".into(),
    };
    let nobody = WebIdentityTokenCredentialsProvider::builder()
        .configure(
            &ProviderConfig::empty().with_http_client(https()).with_region(Some(Region::new("eu-west-1"))),
        )
        .static_configuration(account)
        .build();
    let config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(nobody)).build();
    let ec2 = Ec2::by(config);
    let told = ec2.ask(&node(&[("eu-west-1", "rpc")])).await;
    let wanted = "the request could not be sent: see the log about credentials";
    assert_eq!(told[0].blind().unwrap().to_string(), wanted);
    assert_eq!(*asked.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_ec2_that_hangs_is_waited_for_ten_seconds() {
    let (ec2, _) = pretend(answers).await;
    let waited =
        tokio::time::timeout(Duration::from_secs(30), ec2.ask(&node(&[("eu-west-1", "hang")]))).await;
    let told = waited.unwrap();
    assert!(told[0].blind().is_some(), "{told:?}");
}
