//! Two accounts end to end: brokers that ask for TLS and a password, rights as `deploy/kafka-acls.sh` gives them,
//! servers that speak TLS, and each account where it must not be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use tempfile::TempDir;
use testkit::kafka::{Broker, Operation, Resource, Setup};
use testkit::{
    Client, Dataset, Kind, Process, Server, ServerCert, TlsFiles, Tolerance, Workload, compare,
    eventually,
};

use crate::apart::{PATIENCE, stop};

const SOURCE: i32 = 3;
const DESTINATION: i32 = 4;
const JOURNAL: i32 = 6;
const STREAM: &str = "shop";
const TOPIC: &str = "keyferry.shop";
/// What each side has at the brokers and at its server: nothing of it is the other's.
const CAPTURE: Account = Account {
    user: "capture",
    password: "sesame-of-capture",
    server_user: "reader",
    server_password: "sesame-of-source",
};
const APPLY: Account = Account {
    user: "apply",
    password: "sesame-of-apply",
    server_user: "writer",
    server_password: "sesame-of-destination",
};
/// Of who compares both servers.
const JUDGE: &str = "sesame-of-judge";
/// What docs/tls-and-accounts.md says that the account at each side must be allowed.
const AT_SOURCE: &str =
    "-@all +psync +replconf +ping +info +time +command +set ~keyferry:heartbeat:*";
const AT_DESTINATION: &str = "~* -@all +@write +ping +info +select +scan +get +hgetall +hexists \
     +watch +multi +exec +discard +client|setname +client|list +client|kill +type +getrange +hmget";

#[derive(Clone, Copy)]
struct Account {
    user: &'static str,
    password: &'static str,
    server_user: &'static str,
    server_password: &'static str,
}

/// Brokers and servers, all with TLS, and configuration files for both sides.
struct Place {
    broker: Broker,
    source: Server,
    destination: Server,
    files: TlsFiles,
    dir: TempDir,
}

// === impl Place ===

impl Place {
    fn start() -> Result<Self> {
        let files = TlsFiles::generate()?;
        let mut setup = Setup::default().tls(&files, ServerCert::Good);
        for account in [CAPTURE, APPLY] {
            setup = setup.user(account.user, account.password);
        }
        let server = |account: Account, rules: &str| {
            let Account { server_user, server_password, .. } = account;
            let user = format!("user {server_user} on >{server_password} {rules}");
            let lines = [user, format!("requirepass {JUDGE}")];
            let lines = lines.each_ref().map(String::as_str);
            Server::start_tls(Kind::Redis7_0, &files, ServerCert::Good, &lines)
        };
        let (source, destination) = (server(CAPTURE, AT_SOURCE)?, server(APPLY, AT_DESTINATION)?);
        let (broker, dir) = (Broker::with(&setup)?, TempDir::new()?);
        Ok(Self { broker, source, destination, files, dir })
    }

    /// The directory of one process, where all is that it is told and keeps.
    fn dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A configuration file for one side, with the account's properties and its server's password beside it.
    fn config(&self, name: &str, account: Account, sections: &str) -> Result<String> {
        fs::create_dir_all(self.dir(name))?;
        let path = |ending: &str| self.dir(name).join(format!("own{ending}"));
        private(&path(".password"), account.server_password)?;
        let ca = self.files.ca().display().to_string();
        let properties = format!(
            "security.protocol=SASL_SSL\nssl.ca.location={ca}\nsasl.mechanism=SCRAM-SHA-256\n\
             sasl.username={}\nsasl.password={}\n",
            account.user, account.password
        );
        private(&path(".properties"), &properties)?;
        let text = format!(
            "data_dir = {:?}\n\n[stream]\nname = {STREAM:?}\npartitions = 4\n\n[journal]\nuri = \"kafka://{}\"\n\n\
             [kafka]\nproperties_file = {:?}\n{sections}",
            path(".data"),
            self.broker.bootstrap(),
            path(".properties")
        );
        private(&path(".toml"), &text)?;
        Ok(path(".toml").display().to_string())
    }

    fn capture(&self, name: &str, account: Account) -> Result<Process> {
        let (uri, ca) = (self.source.uri(), self.files.ca());
        let login = self.login(name, account);
        let sections = format!("\n[source]\nuri = {uri:?}\ntls_ca_file = {ca:?}\n{login}");
        Process::start(&["capture", "--config", &self.config(name, account, &sections)?])
    }

    fn apply(&self, name: &str, account: Account) -> Result<Process> {
        let (uri, ca) = (self.destination.uri(), self.files.ca());
        let sections = format!(
            "create = false\n\n[destination]\nname = \"copy\"\nuri = {uri:?}\ntls_ca_file = {ca:?}\n{}",
            self.login(name, account)
        );
        Process::start(&["apply", "--config", &self.config(name, account, &sections)?])
    }

    /// A client of the brokers that is not keyferry.
    fn client_of(&self, account: Account) -> ClientConfig {
        let ca = self.files.ca().display().to_string();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.broker.bootstrap())
            .set("security.protocol", "SASL_SSL")
            .set("ssl.ca.location", ca)
            .set("sasl.mechanism", "SCRAM-SHA-256")
            .set("sasl.username", account.user)
            .set("sasl.password", account.password);
        config
    }

    /// What a section of a server says of the account there.
    fn login(&self, name: &str, account: Account) -> String {
        let file = self.dir(name).join("own.password");
        format!("user = {:?}\npassword_file = {file:?}\n", account.server_user)
    }

    /// Gives the rights that the script would give, which names them for Kafka's own tool.
    fn give_rights(&self, words: &[&str]) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka-acls.sh");
        let output = Command::new(script)
            .args(words)
            .env("BOOTSTRAP", self.broker.admin())
            .env("DRY_RUN", "yes")
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)?.lines().try_for_each(|line| self.give(line))
    }

    fn give(&self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of = |option: &'static str| {
            words.windows(2).filter_map(move |pair| match pair {
                [name, value] if *name == option => Some(*value),
                _ => None,
            })
        };
        let user = of("--allow-principal").next().and_then(|user| user.strip_prefix("User:"));
        let user = user.context("a right of somebody")?;
        ensure!(
            of("--resource-pattern-type").eq(["literal"]),
            "a right on more than is named: {line}"
        );
        let resources = of("--topic").map(|name| (Resource::Topic, name));
        let resources: Vec<_> =
            resources.chain(of("--group").map(|name| (Resource::Group, name))).collect();
        for operation in of("--operation") {
            let operation = match operation {
                "Read" => Operation::Read,
                "Write" => Operation::Write,
                "Create" => Operation::Create,
                "Describe" => Operation::Describe,
                "DescribeConfigs" => Operation::DescribeConfigs,
                other => bail!("a right that nobody needs: {other}"),
            };
            for (resource, name) in &resources {
                self.broker.allow_exactly(user, operation, *resource, name)?;
            }
        }
        Ok(())
    }

    fn is_same(&self) -> Result<bool> {
        let source = Dataset::read(&mut judge(&self.source)?)?;
        let destination = Dataset::read(&mut judge(&self.destination)?)?;
        let kind = self.source.kind();
        let tolerance = Tolerance::native(kind, kind).with_lag(kind, 500);
        Ok(compare(&source, &destination, &tolerance).is_empty())
    }
}

/// A client that may do everything.
fn judge(server: &Server) -> Result<Client> {
    let mut client = server.client()?;
    client.auth(None, JUDGE)?;
    Ok(client)
}

/// Fails if any file below a directory has one of these words.
fn assert_without(dir: &Path, words: &[&str]) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            assert_without(&path, words)?;
        } else if path.is_file() {
            let bytes = fs::read(&path)?;
            for word in words {
                let has = bytes.windows(word.len()).any(|part| part == word.as_bytes());
                ensure!(!has, "{word} is in {}", path.display());
            }
        }
    }
    Ok(())
}

/// For the account alone, as keyferry asks for.
fn private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(Into::into)
}

/// It ends with this code, names all of these words, and no password.
fn assert_refused(mut process: Process, code: i32, words: &[String]) -> Result<()> {
    let status = process.wait(PATIENCE)?;
    let said = process.stderr();
    ensure!(status.code() == Some(code), "exit code {:?}:\n{said}", status.code());
    for word in words {
        ensure!(said.contains(word), "nothing is said of {word:?}:\n{said}");
    }
    ensure!(!said.contains("sesame"), "a password is shown:\n{said}");
    Ok(())
}

#[test]
fn two_accounts_carry_everything_and_each_is_kept_from_the_others_part() -> Result<()> {
    let place = Place::start()?;
    place.give_rights(&["capture", CAPTURE.user, STREAM])?;
    place.give_rights(&["apply", APPLY.user, STREAM, "copy"])?;
    let mut workload = Workload::new(testkit::seed(), Kind::Redis7_0);
    let mut client = judge(&place.source)?;
    workload.run(&mut client, 300)?;
    let mut capture = place.capture("capture", CAPTURE)?;
    capture
        .until(PATIENCE, "it runs", |_, said| said.contains("metrics and status").then_some(()))?;
    // It may make no topic: until capture has, it ends, and its supervisor starts it again.
    let mut apply = place.apply("apply", APPLY)?;
    eventually(PATIENCE, "an apply finds the topics", || {
        if !apply.is_running()? {
            let said = apply.stderr();
            ensure!(!said.contains("lacks the right"), "{said}");
            apply = place.apply("apply", APPLY)?;
        }
        Ok((judge(&place.destination)?.cmd(&["DBSIZE"])?.int()? > 0).then_some(()))
    })?;
    workload.run(&mut client, 300)?;
    // A flush that is still on its way would take the key away.
    let same = |mut processes: [&mut Process; 2]| {
        eventually(PATIENCE, "both hold the same", || {
            for process in &mut processes {
                ensure!(process.is_running()?, "one has ended:\n{}", process.stderr());
            }
            Ok(place.is_same()?.then_some(()))
        })
    };
    same([&mut capture, &mut apply])?;
    // A key that cannot be written: its letter goes to the topic that only applies may write.
    judge(&place.destination)?.cmd(&["SET", "in-the-way", "a string"])?;
    let mut client = judge(&place.source)?;
    client.cmd(&["RPUSH", "in-the-way", "a"])?;
    let held = |apply: &mut Process| {
        apply.until(PATIENCE, "it sets the key aside", |_, said| {
            said.contains("in-the-way").then_some(())
        })
    };
    held(&mut apply)?;
    client.cmd(&["SET", "in-the-way", "a whole state"])?;
    same([&mut capture, &mut apply])?;
    for process in [&capture, &apply] {
        let said = process.stderr();
        ensure!(!said.contains("lacks the right") && !said.contains("sesame"), "{said}");
    }

    stop(&mut apply)?;
    stop(&mut capture)?;

    // None of what one side has is where the other looks, not even in what it keeps.
    let secrets = |account: Account| [account.password, account.server_password];
    assert_without(&place.dir("capture"), &secrets(APPLY))?;
    assert_without(&place.dir("apply"), &secrets(CAPTURE))?;
    each_is_refused_in_the_others_part(&place)?;
    brokers_refuse_the_others_part(&place)
}

/// Processes with the account of the other side at the brokers, at the server, or with a wrong password.
fn each_is_refused_in_the_others_part(place: &Place) -> Result<()> {
    // Nobody writes the stream: a second capture would stand by.
    let lacks = |right: &str| ["lacks the right".to_owned(), right.to_owned()];
    let at_brokers = |account: Account, other: Account| Account {
        server_user: other.server_user,
        server_password: other.server_password,
        ..account
    };
    let denied = lacks(&format!("Write on topic {TOPIC}"));
    assert_refused(place.capture("wrong-1", at_brokers(APPLY, CAPTURE))?, JOURNAL, &denied)?;
    let denied = lacks(&format!("on topic {TOPIC}.dead"));
    assert_refused(place.apply("wrong-2", at_brokers(CAPTURE, APPLY))?, JOURNAL, &denied)?;
    let wrong = |account: Account| Account { password: "sesame-of-nobody", ..account };
    let named = ["does not let us in", "uthentication", "user and password"].map(str::to_owned);
    assert_refused(place.capture("wrong-3", wrong(CAPTURE))?, JOURNAL, &named)?;
    assert_refused(place.apply("wrong-4", wrong(APPLY))?, JOURNAL, &named)?;
    // What the other side has for its server is nothing at this one.
    let named = |server: &Server, account: Account| {
        let port = server.port().to_string();
        [port, account.server_user.to_owned(), "WRONGPASS".to_owned()]
    };
    let there = at_brokers(CAPTURE, APPLY);
    assert_refused(place.capture("wrong-5", there)?, SOURCE, &named(&place.source, APPLY))?;
    let there = at_brokers(APPLY, CAPTURE);
    let words = named(&place.destination, CAPTURE);
    assert_refused(place.apply("wrong-6", there)?, DESTINATION, &words)
}

/// What a broker has answered to one record.
#[derive(Default)]
struct Answer(Mutex<Option<Option<RDKafkaErrorCode>>>);

impl ClientContext for Answer {}

impl ProducerContext for Answer {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        let refused = delivered.as_ref().err().and_then(|(error, _)| error.rdkafka_error_code());
        *self.0.lock() = Some(refused);
    }
}

/// The brokers themselves keep capture from the applies' topic and group, and apply from the stream.
fn brokers_refuse_the_others_part(place: &Place) -> Result<()> {
    for (account, topic) in [(CAPTURE, format!("{TOPIC}.dead")), (APPLY, TOPIC.to_owned())] {
        let producer: BaseProducer<Answer> =
            place.client_of(account).create_with_context(Answer::default())?;
        let record = BaseRecord::<str, str>::to(&topic).payload("not mine");
        producer.send(record).map_err(|(error, _)| error)?;
        producer.flush(PATIENCE)?;
        let answer = *producer.context().0.lock();
        let denied = Some(Some(RDKafkaErrorCode::TopicAuthorizationFailed));
        ensure!(answer == denied, "{} writes {topic}: {answer:?}", account.user);
    }
    let group = format!("{TOPIC}.copy");
    let member: BaseConsumer = place.client_of(CAPTURE).set("group.id", &group).create()?;
    member.subscribe(&[TOPIC])?;
    let refused = member.poll(PATIENCE).context("an answer")?.map(drop);
    let code = refused.as_ref().err().and_then(KafkaError::rdkafka_error_code);
    let is_named = code == Some(RDKafkaErrorCode::GroupAuthorizationFailed);
    ensure!(is_named, "capture joins {group}: {refused:?}");
    Ok(())
}
