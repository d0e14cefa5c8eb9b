//! Goal: two callers who speak at the same time each hear, in their own language and in order, what
//! the other one said, and when they have hung up nothing is left of the call.
//! Method: a real Asterisk, the whole product, two phones; each recording is given to a recogniser
//! and must hold exactly the expected translations. Once with telephone quality, once wide band.

mod support;

use support::lab_asterisk::Asterisk;
use support::lab_call::{Pair, assert_legs_balance, folder};
use support::product_programs::{self, Vendors};
use support::product_speech::Phrase;

const FIRST_WORD_S: f64 = 1.5;

const ON_TELEPHONES: Pair = Pair {
    name: "telephone",
    codec: "pcmu",
    in_english: &[
        Phrase {
            en: "Do you have a room available this weekend?",
            fr: "Avez-vous une chambre disponible ce week-end ?",
        },
        Phrase {
            en: "Is breakfast included in the price?",
            fr: "Le petit déjeuner est-il compris dans le prix ?",
        },
        Phrase {
            en: "How much does it cost per night?",
            fr: "Combien cela coûte-t-il par nuit ?",
        },
    ],
    in_french: &[
        Phrase {
            en: "How can I help you?",
            fr: "En quoi puis-je vous être utile ?",
        },
        Phrase {
            en: "What is your telephone number?",
            fr: "Quel est votre numéro de téléphone ?",
        },
        Phrase {
            en: "Could you spell your family name?",
            fr: "Pouvez-vous épeler votre nom de famille ?",
        },
    ],
};

const IN_WIDE_BAND: Pair = Pair {
    name: "wide",
    codec: "l16",
    in_english: &[
        Phrase {
            en: "There is a mistake on my bill.",
            fr: "Il y a une erreur sur ma facture.",
        },
        Phrase {
            en: "My order has not arrived yet.",
            fr: "Ma commande n'est pas encore arrivée.",
        },
    ],
    in_french: &[
        Phrase {
            en: "The heating in my apartment does not work.",
            fr: "Le chauffage de mon appartement ne fonctionne pas.",
        },
        Phrase {
            en: "When will the technician come?",
            fr: "Quand le technicien viendra-t-il ?",
        },
    ],
};

#[test]
fn telephones_hear_each_other_in_their_own_language() {
    converse(ON_TELEPHONES);
}

#[test]
fn wide_band_phones_hear_each_other_in_their_own_language() {
    converse(IN_WIDE_BAND);
}

fn converse(pair: Pair) {
    let Some(asterisk) = Asterisk::start() else {
        return;
    };
    let folder = folder(pair.name);
    let vendors = Vendors::start();
    let diglot = product_programs::run(&asterisk, &vendors);
    let talks = pair
        .callers(&folder, FIRST_WORD_S)
        .map(|caller| caller.call(&asterisk, &folder));
    for talk in talks {
        talk.assert_heard();
    }
    asterisk.assert_empty();
    assert_legs_balance(&diglot);
}
