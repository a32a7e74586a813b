# Čeština. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Čeština
subject = Váš přihlašovací kód pro { $app }
# Follows the code and a space, and ends the sentence.
code-is = je váš přihlašovací kód pro { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] jednu minutu
    [few] { $minutes } minuty
    [many] { $minutes } minuty
   *[other] { $minutes } minut
  }
valid-for = Vyžádán v { $asked_at }. Platí ještě { minutes }, do { $expires_at }, a jen jednou.
# Shown beside the subject in a list of mails.
preheader = Vyžádán v { $asked_at }, platí do { $expires_at }.
not-asked = Pokud jste o kód nežádali, můžete tento e-mail ignorovat: bez kódu se nikdo nepřihlásí.
never-share = { $app } po vás nikdy nebude chtít, abyste kód někomu sdělili.
help = Potřebujete pomoc?
