# Türkçe. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Türkçe
subject = Giriş kodunuz: { $app }
# Follows the code and a space, and ends the sentence.
code-is = { $app } giriş kodunuzdur.
# Used in valid-for.
minutes = { $minutes ->
    [one] bir dakika
   *[other] { $minutes } dakika
  }
valid-for = İstek saati: { $asked_at }. { minutes } boyunca, { $expires_at } saatine kadar ve yalnızca bir kez geçerlidir.
# Shown beside the subject in a list of mails.
preheader = İstek saati: { $asked_at }, son geçerlilik: { $expires_at }.
not-asked = Bu kodu siz istemediyseniz bu e-postayı yok sayabilirsiniz: kod olmadan kimse giriş yapamaz.
never-share = { $app } bu kodu başkasıyla paylaşmanızı asla istemez.
help = Yardıma mı ihtiyacınız var?
