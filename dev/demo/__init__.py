"""`make demo`: a cluster, the images, the chart, a service, and a contact sheet of what it draws."""
