use async_trait::async_trait;
use cache_core::schema::AuthorityKind;

use super::testing::transport;
use super::*;

fn authority(kind: AuthorityKind) -> Authority {
    Authority::detect(match kind {
        AuthorityKind::Oidc => "https://id.example",
        _ => "https://login.microsoftonline.com/common",
    })
    .unwrap()
}

fn metadata(methods: Option<&[&str]>) -> Metadata {
    let authority = authority(AuthorityKind::Entra);
    Metadata {
        token_endpoint_auth_methods: methods
            .map(|methods| methods.iter().map(|method| (*method).to_owned()).collect()),
        ..Metadata::by_convention(&authority).unwrap()
    }
}

async fn sent(
    client: &ClientIdentity,
    kind: AuthorityKind,
    methods: Option<&[&str]>,
) -> (Option<String>, String) {
    let mut form = Form::new();
    let authentication = Authentication {
        authority: &authority(kind),
        metadata: &metadata(methods),
        transport: &transport(),
        time_limit: Duration::from_secs(10),
    };
    let header = client.authenticate(&authentication, &mut form).await.unwrap();
    let form = String::from_utf8(form.into_bytes().expose().to_vec()).unwrap();
    (header.map(|header| header.expose().to_owned()), form)
}

#[tokio::test]
async fn the_secret_goes_where_the_issuer_expects_it() {
    let client = ClientIdentity::with_secret("c", Secret::new("s")).unwrap();
    let posted = (None, "client_id=c&client_secret=s".to_owned());
    let basic = (Some("Basic Yzpz".to_owned()), String::new());
    for (kind, methods, expected) in [
        (AuthorityKind::Entra, None, &posted),
        (AuthorityKind::Oidc, None, &basic),
        (AuthorityKind::Oidc, Some(&["client_secret_post"][..]), &posted),
        (
            AuthorityKind::Oidc,
            Some(&["client_secret_basic", "client_secret_post"][..]),
            &posted,
        ),
        (AuthorityKind::Oidc, Some(&["client_secret_basic"][..]), &basic),
        (AuthorityKind::Oidc, Some(&[][..]), &basic),
    ] {
        assert_eq!(
            sent(&client, kind, methods).await,
            *expected,
            "{kind:?} {methods:?}"
        );
    }
    let chosen = client.secret_method(SecretMethod::Post);
    assert_eq!(sent(&chosen, AuthorityKind::Oidc, None).await, posted);
    let chosen = chosen.secret_method(SecretMethod::Basic);
    assert_eq!(sent(&chosen, AuthorityKind::Entra, None).await, basic);
    let public = ClientIdentity::public("c").unwrap();
    assert_eq!(
        sent(&public, AuthorityKind::Oidc, None).await,
        (None, "client_id=c".to_owned())
    );
}

#[test]
fn empty_credentials_are_refused_and_debug_shows_none() {
    assert!(ClientIdentity::public("").is_err());
    assert!(ClientIdentity::with_secret("c", Secret::default()).is_err());
    let client = ClientIdentity::with_secret("c", Secret::new("canary")).unwrap();
    assert!(!format!("{client:?}").contains("canary"));
}

#[derive(Debug)]
struct Provider(&'static str);

#[async_trait]
impl ClientAssertionProvider for Provider {
    async fn assertion(&self, request: &AssertionRequest<'_>) -> Result<Secret, ClientAssertionError> {
        assert_eq!(request.client_id, "c");
        assert_eq!(request.token_endpoint.path(), "/common/oauth2/v2.0/token");
        assert_eq!(request.time_limit, Duration::from_secs(10));
        match self.0 {
            "never" => std::future::pending().await,
            "fails" => Err(ClientAssertionError::provider("the vault is closed")),
            assertion => Ok(Secret::new(assertion)),
        }
    }
}

#[tokio::test]
async fn a_provider_makes_the_assertion_or_says_why_not() {
    let ask = async |provider: &'static str| {
        let client = ClientIdentity::with_assertion("c", Arc::new(Provider(provider))).unwrap();
        let mut form = Form::new();
        let authentication = Authentication {
            authority: &authority(AuthorityKind::Entra),
            metadata: &metadata(None),
            transport: &transport(),
            time_limit: Duration::from_secs(10),
        };
        let header = client.authenticate(&authentication, &mut form).await?;
        assert!(header.is_none());
        Ok::<_, Error>(String::from_utf8(form.into_bytes().expose().to_vec()).unwrap())
    };
    assert_eq!(
        ask("a.b.c").await.unwrap(),
        "client_id=c&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
         &client_assertion=a.b.c"
    );
    let why = async |provider| match ask(provider).await {
        Err(Error::ClientAssertion(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(why("").await, ClientAssertionError::Empty));
    assert!(matches!(why("fails").await, ClientAssertionError::Provider(_)));
    // The clock of this test passes at once when it is slept on.
    assert!(matches!(why("never").await, ClientAssertionError::TimedOut));
}
