<?php
// What a team would write with Symfony's mailer: reads an address a line, sends a code to it by the first of two relays
// that takes it (failover), and tries again as Messenger does by default: three times, after 1, 2 and 4 seconds. Prints
// "sent" or "failed" for each address.
//
//   php -d default_socket_timeout=6 send.php smtp://host:port smtp://host:port

require '/usr/share/php/Symfony/Component/Mailer/autoload.php';

use Symfony\Component\Mailer\Exception\TransportExceptionInterface;
use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport;
use Symfony\Component\Mime\Email;

$mailer = new Mailer(Transport::fromDsn("failover({$argv[1]} {$argv[2]})"));
while (($line = fgets(STDIN)) !== false) {
    [$to, $code] = explode(' ', trim($line));
    $mail = (new Email())->from('login@acme.example')->to($to)->subject('Your code')
        ->text("$code\n")->html("<p>$code</p>");
    $result = 'failed';
    foreach ([0, 1, 2, 4] as $pause) {
        sleep($pause);
        try {
            $mailer->send($mail);
            $result = 'sent';
            break;
        } catch (TransportExceptionInterface) {
        }
    }
    echo "$result $to\n";
}
