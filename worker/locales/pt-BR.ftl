# Português (Brasil). Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Português (Brasil)
subject = Seu código para acessar { $app }
# Follows the code and a space, and ends the sentence.
code-is = é seu código para acessar { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] um minuto
   *[other] { $minutes } minutos
  }
valid-for = Solicitado às { $asked_at }. Vale por { minutes }, até as { $expires_at }, e só uma vez.
# Shown beside the subject in a list of mails.
preheader = Solicitado às { $asked_at }, válido até as { $expires_at }.
not-asked = Se você não pediu este código, ignore este e-mail: sem o código, ninguém consegue entrar.
never-share = { $app } nunca pedirá que você o compartilhe.
help = Precisa de ajuda?
