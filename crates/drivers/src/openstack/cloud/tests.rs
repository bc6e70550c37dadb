use serde_json::json;

use super::*;

fn resolve(section: Value, variable: fn(&str) -> Option<String>) -> Result<Cloud, String> {
    let Value::Object(section) = section else { unreachable!("a section is an object") };
    Cloud::resolve(&section, &Environment { variable }).map_err(|error| error.to_string())
}

fn none(_: &str) -> Option<String> {
    None
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let clouds = "
clouds:
  demo:
    auth: {auth_url: 'http://cloud.test:5000', username: demo, project_name: demo, user_domain_name: Default}
    region_name: RegionOne
    interface: publicURL
    verify: true
  careless:
    auth: {auth_url: 'http://cloud.test:5000', username: demo, password: hush, project_name: demo}
    verify: false
";
    std::fs::write(folder.path().join("clouds.yaml"), clouds).unwrap();
    let secure = "clouds: {demo: {auth: {password: hush}}}";
    std::fs::write(folder.path().join("secure.yaml"), secure).unwrap();
    folder
}

#[test]
fn a_named_cloud_comes_from_the_file_with_its_secrets_from_the_one_beside_it() {
    let folder = folder();
    let file = folder.path().join("clouds.yaml").display().to_string();
    let cloud = resolve(json!({"cloud": "demo", "clouds_file": file}), none).unwrap();
    assert_eq!(cloud.auth_url.as_str(), "http://cloud.test:5000/v3");
    assert_eq!(cloud.region.as_deref(), Some("RegionOne"));
    assert_eq!(cloud.interface, "public");
    let Credentials::Password { user, password, project } = &cloud.credentials else {
        panic!("{cloud:?}")
    };
    let domain = KeystoneRef::Domain("Default".to_owned());
    assert_eq!(*user, KeystoneRef::Name { name: "demo".to_owned(), domain: Box::new(domain) });
    assert!(matches!(project, KeystoneRef::Name { name, .. } if name == "demo"));
    assert_eq!(password.reveal(), "hush");
}

#[test]
fn the_section_s_own_keys_win() {
    let folder = folder();
    let file = folder.path().join("clouds.yaml").display().to_string();
    let section =
        json!({"cloud": "demo", "clouds_file": file, "project_id": "p1", "password": "other"});
    let cloud = resolve(section, none).unwrap();
    let Credentials::Password { project, password, .. } = &cloud.credentials else {
        panic!("{cloud:?}")
    };
    assert_eq!((project, password.reveal()), (&KeystoneRef::Id("p1".to_owned()), "other"));
}

#[test]
fn variables_are_the_last_resort() {
    let cloud = resolve(json!({}), |name| {
        let value = match name {
            "OS_AUTH_URL" => "https://cloud.test/identity/v3/",
            "OS_APPLICATION_CREDENTIAL_ID" => "cred",
            "OS_APPLICATION_CREDENTIAL_SECRET" => "hush",
            _ => return None,
        };
        Some(value.to_owned())
    });
    let cloud = cloud.unwrap();
    assert_eq!(cloud.auth_url.as_str(), "https://cloud.test/identity/v3");
    let credential = KeystoneRef::Id("cred".to_owned());
    let secret = Secret::new("hush");
    assert_eq!(cloud.credentials, Credentials::ApplicationCredential { credential, secret });
}

#[test]
fn what_is_missing_is_named_and_no_secret_is_shown() {
    let whole = json!({"auth_url": "http://c.test", "username": "u", "password": "hush", "project_name": "p"});
    for key in ["username", "password", "project_name"] {
        let mut section = whole.clone();
        section.as_object_mut().unwrap().remove(key);
        let error = resolve(section, none).unwrap_err();
        assert!(error.contains(key) && !error.contains("hush"), "{error}");
    }
    assert!(resolve(json!({}), none).unwrap_err().contains("auth_url"));
    assert!(resolve(json!({"colour": "x"}), none).unwrap_err().contains("colour"));
    assert!(resolve(json!({"auth_url": "http://c.test", "password": 7}), none).is_err());
    let cloud = resolve(whole, none).unwrap();
    assert!(!format!("{cloud:?}").contains("hush"));
}

#[test]
fn an_unverified_connection_is_refused() {
    let folder = folder();
    let file = folder.path().join("clouds.yaml").display().to_string();
    let error = resolve(json!({"cloud": "careless", "clouds_file": file}), none).unwrap_err();
    assert!(error.contains("cacert") && !error.contains("hush"), "{error}");
    let error = resolve(json!({"cloud": "nowhere", "clouds_file": file}), none).unwrap_err();
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn the_services_time_out_is_a_minute_unless_the_section_says_otherwise() {
    let section = |time: Value| {
        json!({
            "auth_url": "https://cloud.test", "username": "u", "password": "hush",
            "project_name": "p", "service_timeout": time,
        })
    };
    let timeout = |time: &str| resolve(section(json!(time)), none).map(|c| c.service_timeout);
    assert_eq!(timeout("90s"), Ok(Duration::from_secs(90)));
    for bad in ["", "0s", "60", "2h", "soon"] {
        assert!(timeout(bad).unwrap_err().contains("`service_timeout`"), "{bad}");
    }
    assert!(resolve(section(json!(60)), none).is_err(), "a number has no unit");
    let plain = json!({
        "auth_url": "https://cloud.test", "username": "u", "password": "hush", "project_name": "p",
    });
    assert_eq!(resolve(plain, none).unwrap().service_timeout, Duration::from_mins(1));
}
