# Svenska. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Svenska
subject = Din inloggningskod till { $app }
# Follows the code and a space, and ends the sentence.
code-is = är din inloggningskod till { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] en minut
   *[other] { $minutes } minuter
  }
valid-for = Begärd { $asked_at }. Gäller i { minutes }, till { $expires_at }, och bara en gång.
# Shown beside the subject in a list of mails.
preheader = Begärd { $asked_at }, gäller till { $expires_at }.
not-asked = Om du inte har bett om koden kan du bortse från det här mejlet: utan koden kan ingen logga in.
never-share = { $app } ber dig aldrig att lämna ut den.
help = Behöver du hjälp?
