//! What `brand.toml` may say, and what is refused with its line.

use super::*;

/// The smallest PNG header there is; the rest of the image is of no interest.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend(width.to_be_bytes());
    png.extend(height.to_be_bytes());
    png
}

fn load(text: &str) -> Result<Brands, BrandError> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(FILE), text).expect("written");
    std::fs::write(folder.path().join("logo.png"), png(300, 60)).expect("written");
    std::fs::write(folder.path().join("large.png"), vec![0; 16 * 1024 + 1]).expect("written");
    std::fs::write(folder.path().join("logo.svg"), "<svg/>").expect("written");
    Brands::load(Some(folder.path()), "Acme")
}

#[test]
fn a_client_says_what_differs() {
    let brands = load(
        "[brand]\ncolor = \"#1457c8\"\nsupport_url = \"https://acme.example/help\"\nlocale = \"de\"
         \n[clients.client_shop]\nname = \"Acme Shop\"\nlogo = \"logo.png\"\nreply_to = \"shop@acme.example\"",
    )
    .expect("valid");
    let usual = brands.of(None);
    assert_eq!((usual.name.as_str(), usual.logo.is_none()), ("Acme", true));
    assert_eq!(usual.color.to_string(), "#1457c8");
    assert!(usual.color_dark.contrast(Ground::Dark.color_of()) >= 4.5, "{}", usual.color_dark);
    let shop = brands.of(Some(&ClientId::parse("client_shop").expect("valid")));
    assert_eq!((shop.name.as_str(), shop.color), ("Acme Shop", usual.color));
    let logo = shop.logo.as_ref().expect("a logo");
    assert_eq!((logo.width, logo.height), (200, 40));
    assert_eq!(brands.of(Some(&ClientId::parse("client_other").expect("valid"))), usual);
}

#[test]
fn what_cannot_be_used_is_refused_with_its_line() {
    for (text, says) in [
        ("[brand]\ncolour = \"#fff\"", "line 2: unknown field `colour`"),
        ("[brand]\n\ncolor = \"#777\"\n", "line 3: the contrast of #777777 on #ffffff is 4.48:1"),
        ("[brand]\ncolor_dark = \"#1457c8\"", "line 2: the contrast of #1457c8 on #1f2229"),
        ("[brand]\ncolor = \"blue\"", "line 2: \"blue\" is not a colour"),
        ("[brand]\nsupport_url = \"http://acme.example\"", "line 2: support_url must begin"),
        ("[brand]\nreply_to = \"nobody\"", "line 2: "),
        ("[brand]\nlocale = \"German\"", "line 2: must be the tag of a language"),
        ("[brand]\nname = \"a\\nb\"", "line 2: a name has"),
        ("[brand]\nlogo = \"logo.svg\"", "line 2: the logo \"logo.svg\" is not a PNG image"),
        ("[brand]\nlogo = \"large.png\"", "line 2: the logo \"large.png\" has 16385 bytes"),
        ("[brand]\nlogo = \"none.png\"", "line 2: the logo \"none.png\" cannot be read"),
        ("[brand]\n[clients.\"a b\"]\n", "line 2: an id is"),
        ("brand = [", "line 1: "),
    ] {
        let error = load(text).expect_err(text).to_string();
        assert!(error.contains(&format!("{FILE}, {says}")), "{text}: {error}");
    }
}

#[test]
fn any_colour_is_made_readable_on_a_dark_ground() {
    for text in ["#000000", "#00f", "#7a0019", "#0b3d91", "#ffffff"] {
        let color = Color::parse(text).expect("valid").lightened_for_dark();
        assert!(color.contrast(Ground::Dark.color_of()) >= 4.5, "{text}: {color}");
    }
}
