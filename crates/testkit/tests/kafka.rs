//! A broker of the tests starts, keeps what it has over a restart, and leaves nothing behind.

use std::net::TcpStream;

use testkit::kafka::{Broker, Cluster, Operation, Resource, Setup};

#[test]
fn a_broker_starts_again_on_its_port_and_goes_with_its_directory() {
    let mut broker = Broker::start().unwrap();
    let (address, dir) = (broker.bootstrap(), broker.dir().to_owned());
    assert_eq!(address, broker.admin());
    assert!(TcpStream::connect(&address).is_ok());
    broker.kill().unwrap();
    assert!(TcpStream::connect(&address).is_err());
    broker.restart().unwrap();
    assert_eq!(broker.bootstrap(), address);
    assert!(dir.exists());
    drop(broker);
    assert!(!dir.exists());
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn rights_are_given_where_there_are_users() {
    let broker = Broker::with(&Setup::default().user("kf", "sesame")).unwrap();
    assert_ne!(broker.bootstrap(), broker.admin());
    broker.allow("kf", Operation::Write, Resource::Topic, "keyferry.").unwrap();
    let open = Broker::shared().unwrap();
    let refused = open.allow("kf", Operation::Write, Resource::Topic, "keyferry.");
    assert!(refused.is_err(), "a broker without users has no rights to give");
}

#[test]
fn three_brokers_form_a_cluster() {
    let mut cluster = Cluster::start(3).unwrap();
    let addresses = cluster.bootstrap();
    assert_eq!(addresses.split(',').count(), 3);
    cluster.kill(1).unwrap();
    let second = addresses.split(',').nth(1).unwrap();
    assert!(TcpStream::connect(second).is_err());
    cluster.restart(1).unwrap();
    assert!(TcpStream::connect(second).is_ok());
}
