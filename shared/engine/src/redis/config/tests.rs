//! Unit tests of the parent module.

use super::*;

fn parse(url: &str) -> Result<RedisConfig, InvalidRedisUrl> {
    let trust = Trust::load(None).expect("usable");
    RedisConfig::parse(&SecretString::from(url.to_owned()), &trust)
}

fn place(url: &str) -> Place {
    parse(url).expect("a URL").places.remove(0)
}

#[test]
fn a_url_that_cannot_be_used_is_refused_without_repeating_it() {
    for url in [
        "",
        "redis://",
        "http://h",
        "redis://:secret@h/first",
        "redis://:secret@h/-1",
        "redis://:secret@h:port",
        "redis://:secret@h?db=1",
        "redis://:secret@h?protocol=resp4",
        "redis://h redis://",
        "redis+sentinel://:secret@h:1,h:2",
        "redis+sentinel://:secret@h:1,h:2/name/first",
        "redis+sentinel://:secret@h:1,h:port/name",
        "redis+sentinel://:secret@h:1/name?password=secret",
    ] {
        let error = parse(url).err().unwrap_or_else(|| panic!("{url} was accepted"));
        assert!(!error.to_string().contains("secret"));
    }
    assert!(!format!("{:?}", parse("redis://user:secret@h/1")).contains("secret"));
}

#[test]
fn servers_are_read() {
    let Place::Server(server) = place("rediss://us%40er:p%2Fw@[::1]/3?protocol=resp3") else {
        panic!("a server")
    };
    assert_eq!((server.host.as_str(), server.port, server.encrypted), ("::1", 6379, true));
    assert_eq!(server.login.username(), Some("us@er"));
    assert_eq!(server.login.password(), Some("p/w"));
    assert_eq!((server.login.db(), server.login.protocol()), (3, ProtocolVersion::RESP3));
    let both = parse("redis://one:1 \n redis://two:2").expect("URLs").places;
    assert_eq!(both.len(), 2);
}

#[test]
fn sentinels_are_read() {
    let url = "rediss+sentinel://:pw@one,two:5/my-master/2?sentinel_password=spw";
    let Place::Sentinels { sentinels, name, login } = place(url) else { panic!("sentinels") };
    let hosts: Vec<_> = sentinels.iter().map(|at| (at.host.as_str(), at.port)).collect();
    assert_eq!(hosts, [("one", 26379), ("two", 5)]);
    assert!(sentinels.iter().all(|at| at.encrypted && at.login.password() == Some("spw")));
    assert_eq!((name.as_str(), login.password(), login.db()), ("my-master", Some("pw"), 2));
}
