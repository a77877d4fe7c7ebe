SELECT * FROM parts WHERE upload_id = :upload_id ORDER BY position
