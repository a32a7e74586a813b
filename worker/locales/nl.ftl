# Nederlands. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Nederlands
subject = Je inlogcode voor { $app }
# Follows the code and a space, and ends the sentence.
code-is = is je inlogcode voor { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] één minuut
   *[other] { $minutes } minuten
  }
valid-for = Aangevraagd om { $asked_at }. Nog { minutes } geldig, tot { $expires_at }, en maar één keer.
# Shown beside the subject in a list of mails.
preheader = Aangevraagd om { $asked_at }, geldig tot { $expires_at }.
not-asked = Heb je deze code niet aangevraagd? Dan kun je deze mail negeren: zonder de code kan niemand inloggen.
never-share = { $app } vraagt je nooit om de code door te geven.
help = Hulp nodig?
